package connector

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

var le = binary.LittleEndian

// frame returns an nlmsghdr of that type and flags with a payload.
func frame(typ, flags uint16, payload ...[]byte) []byte {
	p := bytes.Join(payload, nil)
	b := le.AppendUint32(nil, uint32(NlmsgHdrLen+len(p)))
	b = le.AppendUint16(b, typ)
	b = le.AppendUint16(b, flags)
	b = le.AppendUint64(b, 0)
	return append(b, p...)
}

// cnMsg returns a cn_msg of Seq n with n bytes of data.
func cnMsg(n int) []byte {
	b, err := Message{ID: cbid.Make(1, 2), Seq: uint32(n), Data: bytes.Repeat([]byte{byte(n)}, n)}.AppendNetlink(nil, le, 0)
	if err != nil {
		panic(err)
	}
	return b[NlmsgHdrLen:]
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// collect returns the seq of each message, -1 for an error, and the errors.
func collect(b []byte) (seqs []int, errs []error) {
	for m, err := range Messages(b, le) {
		if err != nil {
			seqs, errs = append(seqs, -1), append(errs, err)
			continue
		}
		seqs = append(seqs, int(m.Seq))
	}
	return seqs, errs
}

func TestSeveralFramesAndPackedMessages(t *testing.T) {
	b := bytes.Join([][]byte{
		pad(frame(NlmsgDone, 0, cnMsg(5))),                          // unaligned nlmsg_len, padded
		frame(NlmsgDone, 0, cnMsg(1), cnMsg(0), cnMsg(3), cnMsg(4)), // packed without padding between
		frame(NlmsgDone, 0, cnMsg(2), []byte{9, 9}),                 // padding counted in nlmsg_len, as in 2005
		frame(NlmsgDone, 0, cnMsg(7)),                               // at the end, without its padding
	}, nil)
	seqs, errs := collect(b)
	assert.Empty(t, errs)
	assert.Equal(t, []int{5, 1, 0, 3, 4, 2, 7}, seqs)
	seqs, _ = collect(append(b, 0)) // the last one's padding: nothing more is made of it
	assert.Equal(t, []int{5, 1, 0, 3, 4, 2, 7}, seqs)
}

func TestFramesThatAreNoMessagesAreSkippedAndTold(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		want  error
		text  string
	}{
		"error":        {frame(2, 0, cnMsg(3)), ErrProtocol, "NLMSG_ERROR"},
		"noop":         {frame(1, 0, cnMsg(3)), ErrProtocol, "NLMSG_NOOP"},
		"overrun":      {frame(4, 0, cnMsg(3)), ErrProtocol, "NLMSG_OVERRUN"},
		"type 16":      {frame(16, 0, cnMsg(3)), ErrProtocol, "nlmsg_type 16"},
		"multi":        {frame(NlmsgDone, 2, cnMsg(3)), ErrProtocol, "NLM_F_MULTI"},
		"flags":        {frame(NlmsgDone, 5, cnMsg(3)), ErrProtocol, "nlmsg_flags 0x5"},
		"empty":        {frame(NlmsgDone, 0), ErrProtocol, "0 bytes, a cn_msg has 20"},
		"short cn_msg": {frame(NlmsgDone, 0, cnMsg(0)[:19]), ErrProtocol, "19 bytes"},
		"len too much": {frame(NlmsgDone, 0, cnMsg(9)[:28]), ErrProtocol, "1:2: len 9, but only 8"},
		"too long":     {frame(NlmsgDone, 0, make([]byte, MaxPayload+1)), ErrTooBig, "at most 16384"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, n, err := ParseNetlink(c.frame, le)
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.text)
			assert.Equal(t, len(c.frame), n, "the reader can go on behind it")

			seqs, errs := collect(bytes.Join([][]byte{frame(NlmsgDone, 0, cnMsg(4)), pad(c.frame), frame(NlmsgDone, 0, cnMsg(8))}, nil))
			assert.Equal(t, []int{4, -1, 8}, seqs)
			require.Len(t, errs, 1)
			assert.ErrorContains(t, errs[0], c.text)
		})
	}
}

func TestImpossibleLengthEndsABuffer(t *testing.T) {
	for _, n := range []uint32{0, 1, 15, 37, 1 << 31, 1<<32 - 1, 1<<32 - 4} {
		bad := frame(NlmsgDone, 0, cnMsg(0))
		le.PutUint32(bad, n)
		_, _, next, err := ParseNetlink(bad, le)
		require.ErrorIs(t, err, ErrProtocol, "%d", n)
		require.Zero(t, next)
		seqs, _ := collect(append(frame(NlmsgDone, 0, cnMsg(4)), bad...))
		require.Equal(t, []int{4, -1}, seqs, "%d", n)
	}
	for n := 1; n < NlmsgHdrLen; n++ {
		seqs, _ := collect(make([]byte, n))
		require.Equal(t, []int{-1}, seqs, "a datagram of %d bytes", n)
	}
	seqs, _ := collect(nil)
	require.Empty(t, seqs)
}

// What is behind the data of one message: up to 3 bytes are padding, more are
// another message or an error.
func TestTrailingBytes(t *testing.T) {
	for extra := range 40 {
		b := frame(NlmsgDone, 0, cnMsg(4), make([]byte, extra))
		_, m, _, err := ParseNetlink(b, le)
		if extra < 4 {
			require.NoError(t, err)
			require.Equal(t, uint32(4), m.Seq)
		} else {
			require.ErrorIs(t, err, ErrProtocol)
		}
		want := []int{4}
		switch {
		case extra < 4:
		case extra < CnMsgLen:
			want = append(want, -1)
		case extra < CnMsgLen+4:
			want = append(want, 0) // twenty zeros are an empty message of id 0:0
		default:
			want = append(want, 0, -1)
		}
		seqs, _ := collect(b)
		require.Equal(t, want, seqs, "%d bytes", extra)
	}
}

func TestIteratorsMayBeLeft(t *testing.T) {
	b := bytes.Join([][]byte{frame(2, 0), frame(NlmsgDone, 0, cnMsg(1), cnMsg(2)), frame(NlmsgDone, 0, cnMsg(3))}, nil)
	for leave := 1; leave <= 4; leave++ {
		n := 0
		for range Messages(b, le) {
			if n++; n == leave {
				break
			}
		}
		assert.Equal(t, leave, n)
	}
	var seqs []uint32
	for m, err := range Packed(append(cnMsg(1), cnMsg(2)...), le) {
		require.NoError(t, err)
		seqs = append(seqs, m.Seq)
	}
	assert.Equal(t, []uint32{1, 2}, seqs)
}

func TestParseBorrowsAndCannotGrowIntoWhatFollows(t *testing.T) {
	b := append(frame(NlmsgDone, 0, cnMsg(4)), 0xee)
	_, m, _, err := ParseNetlink(b, le)
	require.NoError(t, err)
	c := m.Clone()
	b[HeaderLen] = 0x55
	assert.Equal(t, byte(0x55), m.Data[0], "borrowed")
	assert.Equal(t, byte(4), c.Data[0], "copied")
	_ = append(m.Data, 1)
	assert.Equal(t, byte(0xee), b[len(b)-1])

	_, payload, _, err := ParseFrame(b, le)
	require.NoError(t, err)
	_ = append(payload, 1)
	assert.Equal(t, byte(0xee), b[len(b)-1])

	packed := append(cnMsg(4), 0xee)
	m, _, err = ParseCnMsg(packed, le)
	require.NoError(t, err)
	_ = append(m.Data, 1)
	assert.Equal(t, byte(0xee), packed[len(packed)-1], "the next message of the payload")
}

func FuzzParseNetlink(f *testing.F) {
	for _, name := range []string{"proc-listen", "proc-ack", "proc-fork", "proc-exec", "proc-exit"} {
		b, _ := loadHex(f, name)
		f.Add(b)
	}
	f.Add(bytes.Join([][]byte{pad(frame(NlmsgDone, 0, cnMsg(5))), frame(2, 2, cnMsg(0)), frame(NlmsgDone, 0, cnMsg(1), cnMsg(2))}, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			h, m, n, err := ParseNetlink(b, order)
			require.LessOrEqual(t, n, len(b))
			if err == nil {
				require.Positive(t, n)
				again, err := m.AppendNetlink(nil, order, h.PID)
				require.NoError(t, err)
				_, back, _, err := ParseNetlink(again, order)
				require.NoError(t, err)
				require.True(t, m.Equal(back))
			}
			total := 0
			for m, err := range Messages(b, order) {
				if err == nil {
					total += CnMsgLen + len(m.Data)
				}
			}
			require.LessOrEqual(t, total, len(b), "no byte is used twice")
		}
		if m, err := ParseExact(b); err == nil {
			again, err := m.AppendNative(nil, native.Uint32(b[12:]))
			require.NoError(t, err)
			native.PutUint32(again[8:], native.Uint32(b[8:])) // nlmsg_seq is not looked at
			require.Equal(t, b, again)
		}
	})
}
