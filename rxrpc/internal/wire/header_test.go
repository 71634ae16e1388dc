package wire

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// unhex reads bytes written for people: spaces and bars do not count.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "", "\n", "", "\t", "").Replace(s))
	require.NoError(t, err)
	return b
}

func TestHeaderOfFirstData(t *testing.T) {
	b := unhex(t, "8badf00d 12345679 00000001 00000001 00000001 01 05 00 02 abcd 0093")
	h, body, err := ParseHeader(append(b, "body"...))
	require.NoError(t, err)
	assert.Equal(t, "body", string(body))
	assert.Equal(t, Header{
		Epoch: 0x8badf00d, CID: 0x12345679, Call: 1, Seq: 1, Serial: 1, Type: TypeData,
		Flags: ClientInitiated | LastPacket, Security: SecurityRxKAD, Checksum: 0xabcd, Service: 147,
	}, h)
	assert.Equal(t, CID(0x12345678), h.CID.ConnID())
	assert.Equal(t, 1, h.CID.Channel())
	assert.True(t, h.Epoch.Random())
	assert.Equal(t, b, h.Append(nil))
	for n := range HeaderSize {
		_, _, err := ParseHeader(b[:n])
		require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
	}
}

func drawHeader(t *rapid.T) Header {
	u32 := rapid.Uint32()
	return Header{
		Epoch: Epoch(u32.Draw(t, "epoch")), CID: CID(u32.Draw(t, "cid")), Call: CallNumber(u32.Draw(t, "call")),
		Seq: Seq(u32.Draw(t, "seq")), Serial: Serial(u32.Draw(t, "serial")),
		Type: PacketType(rapid.Byte().Draw(t, "type")), Flags: Flags(rapid.Byte().Draw(t, "flags")) & sendableFlags,
		UserStatus: UserStatus(rapid.Byte().Draw(t, "status")), Security: SecurityIndex(rapid.Byte().Draw(t, "security")),
		Checksum: Checksum(rapid.Uint16().Draw(t, "cksum")), Service: ServiceID(rapid.Uint16().Draw(t, "service")),
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		b := h.Append([]byte("before"))
		require.Equal(t, "before", string(b[:6]))
		got, body, err := ParseHeader(b[6:])
		require.NoError(t, err)
		require.Equal(t, h, got)
		require.Empty(t, body)
	})
}

func TestHeaderSendsNoReservedFlags(t *testing.T) {
	h := Header{Type: TypeData, Flags: 0xff}
	assert.Equal(t, byte(0x2f), h.Append(nil)[21])
	b := h.Append(nil)
	b[21] = 0xff
	got, _, err := ParseHeader(b)
	require.NoError(t, err)
	assert.Equal(t, Flags(0xff), got.Flags, "what came is to be seen in a trace")
}

func TestReply(t *testing.T) {
	h := Header{
		Epoch: 1, CID: 2, Call: 3, Seq: 4, Serial: 5, Type: TypeData, Flags: ClientInitiated | RequestAck | JumboPacket,
		UserStatus: 6, Security: 7, Checksum: 8, Service: 9,
	}
	assert.Equal(t, Header{Epoch: 1, CID: 2, Call: 3, Type: TypeAbort, Service: 9}, h.Reply(TypeAbort))
	assert.Equal(t, LastPacket, h.Reply(TypeVersion).Flags)
	h.Flags = 0
	assert.Equal(t, ClientInitiated, h.Reply(TypeAbort).Flags)
}

func TestArithmeticWraps(t *testing.T) {
	const end = Seq(0xffffffff)
	assert.True(t, end.Before(0))
	assert.True(t, Seq(5).After(end))
	assert.False(t, Seq(5).After(5))
	assert.Equal(t, Seq(2), end.Add(3))
	assert.Equal(t, end, Seq(2).Add(-3))
	assert.Equal(t, 3, Seq(2).Sub(end))
	assert.Equal(t, -3, end.Sub(2))
	assert.True(t, Serial(0xffffffff).Before(0))
	assert.True(t, Serial(1).After(0xffffffff))
	assert.Equal(t, -2, Serial(0xffffffff).Sub(1))
	assert.Equal(t, Serial(0), Serial(0xffffffff).Add(1))
	assert.Equal(t, CID(0x1237), CID(0x1234).WithChannel(3))
	assert.Equal(t, CID(0x1235), CID(0x1237).WithChannel(5))
}

func TestNames(t *testing.T) {
	assert.Equal(t, "DATA", TypeData.String())
	assert.Equal(t, "VERSION", TypeVersion.String())
	assert.Equal(t, "TYPE(0)", PacketType(0).String())
	assert.Equal(t, "TYPE(12)", PacketType(12).String())
	assert.Equal(t, "TYPE(200)", PacketType(200).String())
	assert.Equal(t, "0", Flags(0).String())
	assert.Equal(t, "CLIENT|LAST|JUMBO", (ClientInitiated | LastPacket | JumboPacket).String())
	assert.Equal(t, "0x10|0x40|0x80", Flags(0xd0).String())
	assert.Equal(t, "rxkad", SecurityRxKAD.String())
	assert.Equal(t, "security(9)", SecurityIndex(9).String())
	assert.Equal(t, "IDLE", AckIdle.String())
	assert.Equal(t, "reason(0)", AckReason(0).String())
	assert.Equal(t, "reason(10)", AckReason(10).String())
	assert.Equal(t, "RX_PROTOCOL_ERROR", ProtocolError.String())
	assert.Equal(t, "19270407", AbortCode(19270407).String())
	for code, name := range map[AbortCode]string{
		-1: "RX_CALL_DEAD", -2: "RX_INVALID_OPERATION", -3: "RX_CALL_TIMEOUT", -4: "RX_EOF", -5: "RX_PROTOCOL_ERROR", -6: "RX_USER_ABORT",
		-7: "RX_ADDRINUSE", -8: "RX_DEBUGI_BADTYPE", -100: "RX_RESTARTING", 19270400: "RXKADINCONSISTENCY", 0: "", 1: "",
	} {
		assert.Equal(t, name, code.Name())
	}
	for d, name := range map[DebugType]string{
		1: "GETSTATS", 2: "GETCONN", 3: "GETALLCONN", 4: "RXSTATS", 5: "GETPEER", -8: "BADTYPE", 6: "DEBUG(6)",
	} {
		assert.Equal(t, name, d.String())
	}
	assert.Equal(t, "rxrpc: ACK shorter than 18 bytes", errShortAck.Error())
	assert.Equal(t, "0000abcd", CID(0xabcd).String())
	assert.Equal(t, "8badf00d", Epoch(0x8badf00d).String())
}
