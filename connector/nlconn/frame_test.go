package nlconn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func sample() connector.Message {
	return connector.Message{ID: cbid.Make(14, 0x456), Seq: 7, Ack: 9, Flags: 3, Data: []byte("hello")}
}

func TestFrames(t *testing.T) {
	for _, call := range []bool{false, true} {
		m := sample()
		b, err := appendFrame([]byte("xx"), &m, 77, call)
		require.NoError(t, err)
		got, gotCall, err := parseFrame(b[2:])
		require.NoError(t, err)
		assert.Equal(t, m, got)
		assert.Equal(t, call, gotCall)
		for n := range len(b) - 2 {
			_, _, err := parseFrame(b[2 : 2+n])
			assert.ErrorIs(t, err, connector.ErrProtocol, "cut to %d", n)
		}
	}
	m := connector.Message{Data: make([]byte, connector.MaxData+1)}
	_, err := appendFrame(nil, &m, 0, true)
	assert.ErrorIs(t, err, connector.ErrTooBig)
}

func TestFramesOfOtherTypesAreRefused(t *testing.T) {
	m := sample()
	for name, spoil := range map[string]func([]byte){
		"NLMSG_ERROR": func(b []byte) { native.PutUint16(b[4:], 2) },
		"NLM_F_MULTI": func(b []byte) { native.PutUint16(b[6:], 2) },
		"long len":    func(b []byte) { native.PutUint32(b, 1000) },
		"short len":   func(b []byte) { native.PutUint32(b, 3) },
		"data len":    func(b []byte) { native.PutUint16(b[32:], 6) },
	} {
		b, err := appendFrame(nil, &m, 0, false)
		require.NoError(t, err)
		spoil(b)
		_, _, err = parseFrame(b)
		assert.ErrorIs(t, err, connector.ErrProtocol, name)
	}
}

func TestIDPorts(t *testing.T) {
	p, err := IDPort(cbid.Make(14, 0x456))
	require.NoError(t, err)
	assert.EqualValues(t, 0x8e000456, p)
	p, err = IDPort(cbid.Make(32, MaxVal))
	require.NoError(t, err)
	assert.Less(t, p, uint32(0xfffff000), "where the kernel chooses port ids")
	for _, id := range []cbid.ID{{}, cbid.Make(33, 1), cbid.Make(1, MaxVal+1), cbid.Control} {
		_, err := IDPort(id)
		assert.ErrorIs(t, err, connector.ErrInvalid, "%v", id)
	}
}

func FuzzFrame(f *testing.F) {
	m := sample()
	b, err := appendFrame(nil, &m, 1, true)
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, call, err := parseFrame(b)
		if err != nil {
			return
		}
		again, err := appendFrame(nil, &m, 0, call)
		require.NoError(t, err)
		m2, call2, err := parseFrame(again)
		require.NoError(t, err)
		require.Equal(t, m, m2)
		require.Equal(t, call, call2)
	})
}
