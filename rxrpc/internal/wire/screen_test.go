package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func packet(t PacketType, f Flags, edit func(*Header), body ...byte) []byte {
	h := Header{Epoch: 1 << 31, CID: 4, Call: 1, Seq: 1, Serial: 1, Type: t, Flags: f, Service: 52}
	if edit != nil {
		edit(&h)
	}
	return append(h.Append(nil), body...)
}

// The table of section 1.2, steps 1 to 5, row by row.
func TestScreen(t *testing.T) {
	const c = ClientInitiated
	ack := make([]byte, AckFixedSize)
	noCall := func(h *Header) { h.Call = 0 }
	noSeq := func(h *Header) { h.Seq = 0 }
	noService := func(h *Header) { h.Service = 0 }
	accept, drop, abort := Accept, Discard, Reject
	for _, row := range []struct {
		name string
		b    []byte
		want Verdict
	}{
		{"empty", nil, drop},
		{"27 bytes", make([]byte, 27), drop},
		{"short ACK", packet(TypeAck, c, nil, ack[1:]...), drop},
		{"short ACK, no call", packet(TypeAck, c, noCall, ack[1:]...), drop},
		{"ACK", packet(TypeAck, c, nil, ack...), accept},

		{"VERSION", packet(TypeVersion, c, nil, 0), accept},
		{"VERSION with more", packet(TypeVersion, c, nil, 0, 1, 2), accept},
		{"VERSION of no service", packet(TypeVersion, c|LastPacket, func(h *Header) { *h = ToolRequest(TypeVersion, 1) }, 0), accept},
		{"VERSION to a client", packet(TypeVersion, 0, nil, 0), drop},
		{"VERSION, no body", packet(TypeVersion, c, nil), drop},
		{"VERSION, not a zero", packet(TypeVersion, c, nil, 1), drop},

		{"BUSY to a server", packet(TypeBusy, c, nil), drop},
		{"BUSY to a server, no call", packet(TypeBusy, c, noCall), drop},
		{"BUSY", packet(TypeBusy, 0, nil), accept},
		{"BUSY, no call", packet(TypeBusy, 0, noCall), abort},
		{"ACK, no call", packet(TypeAck, 0, noCall, ack...), abort},
		{"ACKALL, no call", packet(TypeAckAll, 0, noCall), abort},
		{"ACKALL", packet(TypeAckAll, 0, nil), accept},
		{"DATA, no call", packet(TypeData, c, noCall), abort},
		{"DATA, no seq", packet(TypeData, c, noSeq), abort},
		{"DATA", packet(TypeData, c, nil), accept},
		{"ACK has no seq", packet(TypeAck, c, noSeq, ack...), accept},

		{"short ABORT", packet(TypeAbort, 0, nil, 0, 0, 0), drop},
		{"ABORT", packet(TypeAbort, 0, nil, 0, 0, 0, 1), accept},
		{"ABORT of a connection", packet(TypeAbort, 0, noCall, 0, 0, 0, 1), accept},
		{"ABORT as OpenAFS refuses a service", packet(TypeAbort, 0, noService, 0, 0, 0, 1), accept},
		{"CHALLENGE to a server", packet(TypeChallenge, c, noCall), drop},
		{"CHALLENGE", packet(TypeChallenge, 0, noCall), accept},
		{"RESPONSE to a client", packet(TypeResponse, 0, noCall), drop},
		{"RESPONSE", packet(TypeResponse, c, noCall), accept},
		{"PARAMS", packet(TypeParams, c, nil), drop},
		{"10", packet(10, c, nil), drop},
		{"11", packet(11, 0, nil), drop},
		{"12", packet(12, c, nil), abort},
		{"14", packet(14, 0, nil), abort},
		{"0", packet(0, c, nil), abort},
		{"255", packet(255, c, nil), abort},

		{"DEBUG", packet(TypeDebug, c, noService, make([]byte, 8)...), accept},
		{"short DEBUG", packet(TypeDebug, c, nil, make([]byte, 7)...), drop},
		{"DEBUG to a client", packet(TypeDebug, 0, nil, make([]byte, 8)...), drop},

		{"DATA, no service", packet(TypeData, c, noService), abort},
		{"CHALLENGE, no service", packet(TypeChallenge, 0, noService), abort},
		{"BUSY to a server, no service", packet(TypeBusy, c, noService), drop},
	} {
		h, body, s := Screen(row.b)
		assert.Equal(t, row.want, s.Verdict, "%s: %v", row.name, s)
		assert.Equal(t, row.want == Accept, s.Why == "", row.name)
		if row.want == Reject {
			assert.Equal(t, ProtocolError, s.Code, row.name)
		} else {
			assert.Zero(t, s.Code, row.name)
		}
		if len(row.b) >= HeaderSize {
			want, wantBody, err := ParseHeader(row.b)
			require.NoError(t, err)
			assert.Equal(t, want, h, row.name)
			assert.Equal(t, wantBody, body, row.name)
		}
	}
	assert.Equal(t, "accept", Screening{}.String())
	assert.Equal(t, "discard: why", discard("why").String())
	assert.Equal(t, "abort RX_PROTOCOL_ERROR: why", reject("why").String())
}

// Whatever is let in can be parsed as what it says it is, but for what takes
// more than a look at its length.
func TestScreenedIsParseable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), HeaderSize, HeaderSize+64).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "known type") {
			b[20] = rapid.ByteRange(1, PacketTypes).Draw(t, "type")
		}
		h, body, s := Screen(b)
		if s.Verdict != Accept {
			return
		}
		switch h.Type {
		case TypeAck:
			_, err := ParseAck(body)
			require.NotErrorIs(t, err, ErrTruncated)
		case TypeAbort:
			_, err := ParseAbort(body)
			require.NoError(t, err)
		case TypeDebug:
			_, err := ParseDebugRequest(body)
			require.NoError(t, err)
		}
		require.True(t, h.Service != 0 || h.Type == TypeVersion || h.Type == TypeDebug || h.Type == TypeAbort)
	})
}

func TestAppendReject(t *testing.T) {
	h, _, s := Screen(packet(TypeData, ClientInitiated|LastPacket, func(h *Header) { h.Call, h.Security = 0, SecurityRxKAD }))
	require.Equal(t, Reject, s.Verdict)
	b := AppendReject(nil, &h, s.Code)
	assert.Equal(t, unhex(t, "80000000 00000004 00000000 00000000 00000000 04 00 00 00 0000 0034 | fffffffb"), b)

	_, _, s = Screen(b)
	assert.Equal(t, Accept, s.Verdict)
	abort := Header{Type: TypeAbort}
	assert.Empty(t, AppendReject(nil, &abort, ProtocolError), "an ABORT is never answered")
}

// What answers a datagram is smaller than what a stranger may make us send: the
// reply to a packet of 28 bytes has 32.
func TestRejectIsSmall(t *testing.T) {
	h := Header{Type: TypeData, Flags: ClientInitiated}
	assert.Len(t, AppendReject(nil, &h, ProtocolError), HeaderSize+AbortSize)
}

func TestAbortRoundTrip(t *testing.T) {
	for _, c := range []AbortCode{0, 1, -1, -455, 19270407, -1 << 31, 1<<31 - 1} {
		b := AppendAbort(nil, c)
		got, err := ParseAbort(append(bytes.Clone(b), "more"...))
		require.NoError(t, err)
		assert.Equal(t, c, got)
		for n := range b {
			_, err := ParseAbort(b[:n])
			require.ErrorIs(t, err, ErrTruncated)
		}
	}
}
