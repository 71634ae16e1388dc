package natsbridge

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func TestHeaderIsWhereTheDocumentSays(t *testing.T) {
	h := packetHeader{kind: packetGroup, host: 0x0203, run: 4, session: 5, peer: 6, seq: 7, ack: 8}
	b := make([]byte, packetHeaderLen)
	h.put(b)
	assert.Equal(t, "CNB1", string(b[:4]))
	assert.Equal(t, []byte{1, 3, 0x03, 0x02}, b[4:8])
	for i, want := range []uint64{4, 5, 6, 7, 8} {
		assert.Equal(t, want, binary.LittleEndian.Uint64(b[8+8*i:]))
	}
	got, rest, err := parsePacket(b)
	require.NoError(t, err)
	assert.Equal(t, h, got)
	assert.Empty(t, rest)
}

func TestDamagedHeadersAreRefusedByReason(t *testing.T) {
	good := make([]byte, packetHeaderLen)
	h := packetHeader{kind: packetLink, host: 1}
	h.put(good)
	for i := range good {
		_, _, err := parsePacket(good[:i])
		require.ErrorIs(t, err, errShortPacket, "%d bytes", i)
	}
	_, _, err := parsePacket(make([]byte, maxPacket+1))
	require.ErrorIs(t, err, errShortPacket)
	for _, tt := range []struct {
		name string
		at   int
		b    []byte
		err  error
	}{
		{"other byte order", 0, []byte("1BNC"), errMagic},
		{"version", 4, []byte{2}, errVersion},
		{"type 0", 5, []byte{0}, errType},
		{"type 5", 5, []byte{5}, errType},
		{"host 0", 6, []byte{0, 0}, errHost},
		{"host 4096", 6, []byte{0, 0x10}, errHost},
	} {
		b := bytes.Clone(good)
		copy(b[tt.at:], tt.b)
		_, _, err := parsePacket(b)
		assert.ErrorIs(t, err, tt.err, tt.name)
	}
}

func TestRecordsLie(t *testing.T) {
	good := appendMembers(nil, 5, true)
	kind, body, rest, err := nextRecord(append(good, 1, 2, 3))
	require.NoError(t, err)
	assert.Equal(t, recordMembers, kind)
	assert.Equal(t, []byte{5, 0, 0, 0, 1, 0, 0, 0}, body)
	assert.Equal(t, []byte{1, 2, 3}, rest)
	for i := range good {
		_, _, _, err := nextRecord(good[:i])
		require.ErrorIs(t, err, errRecord, "%d bytes", i)
	}
	for _, n := range []uint32{0, 7, uint32(len(good)) + 1, 0xffffffff} {
		b := bytes.Clone(good)
		le.PutUint32(b, n)
		_, _, _, err := nextRecord(b)
		assert.ErrorIs(t, err, errRecord, "length %d", n)
	}
}

// TestFramesOfTheOtherByteOrder: what a host of the other byte order makes of a frame, swapped twice, is the frame.
func TestFramesOfTheOtherByteOrder(t *testing.T) {
	send := message(2, 0, 9)
	swapped := bytes.Clone(send)
	swapFrame(swapped, frame.Send)
	order := binary.ByteOrder(binary.BigEndian)
	if foreign {
		order = binary.LittleEndian
	}
	assert.Equal(t, uint32(len(send)), order.Uint32(swapped))
	m, _, _, err := connectorMessage(swapped[frame.HeaderLen:], order)
	require.NoError(t, err)
	assert.Equal(t, cbid.Make(1000, 1), m.ID)
	assert.Equal(t, uint32(9), m.Seq)
	assert.Equal(t, send[frame.HeaderLen+connector.HeaderLen:], m.Data, "data are not touched")
	swapFrame(swapped, frame.Send)
	assert.Equal(t, send, swapped)

	stop := frame.Header{Type: frame.Stop}.Append(nil, frame.AppendID(nil, cbid.Make(1, 2))...)
	swapped = bytes.Clone(stop)
	swapFrame(swapped, frame.Stop)
	assert.Equal(t, uint32(2), order.Uint32(swapped[frame.HeaderLen+4:]))
}

func connectorMessage(b []byte, order binary.ByteOrder) (m connector.Message, port uint32, rest int, err error) {
	_, m, rest, err = connector.ParseNetlink(b, order)
	return m, 0, rest, err
}

func TestValuesOfTheStore(t *testing.T) {
	info := connector.IDInfo{Name: "agent", Port: port(3), Owner: connector.Cred{UID: 1, GID: 2, PID: 3}}
	v, err := parseOwner(idValue(3, 4, &info))
	require.NoError(t, err)
	assert.Equal(t, storeValue{host: 3, run: 4, info: info}, v)
	v, err = parseNamed(leaseValue(3, 4, "alpha"))
	require.NoError(t, err)
	assert.Equal(t, storeValue{host: 3, run: 4, name: "alpha"}, v)

	good := leaseValue(3, 4, "alpha")
	for i := range good[:storeHeaderLen] {
		_, err := parseNamed(good[:i])
		require.Error(t, err)
	}
	for name, b := range map[string][]byte{
		"no name": leaseValue(3, 4, ""), "a long one": leaseValue(3, 4, strings.Repeat("x", 64)), "control characters": leaseValue(3, 4, "a\x1b[2J"),
		"host 0": leaseValue(0, 4, "a"), "host 4096": leaseValue(4096, 4, "a"), "version": append([]byte("CNB1\x02"), good[5:]...), "not ours": []byte(strings.Repeat("{", 40)),
	} {
		_, err := parseNamed(b)
		assert.Error(t, err, name)
	}
	_, err = parseOwner(idValue(3, 4, &connector.IDInfo{Name: strings.Repeat("x", 32)}))
	assert.ErrorIs(t, err, errRecord)
}

func TestSubjects(t *testing.T) {
	o := outbox{prefix: "cnbus.main."}
	for _, s := range []subject{{kind: packetBeacon}, {packetLink, 4095}, {packetGroup, 0xffffffff}} {
		got, ok := subjectOf(o.subject(s), o.prefix)
		assert.True(t, ok)
		assert.Equal(t, s, got)
	}
	for _, bad := range []string{"", "cnbus.main.", "cnbus.other.all", "cnbus.main.h.", "cnbus.main.h.x", "cnbus.main.x.1", "cnbus.main.g.4294967296", "cnbus.main.g.99999999999999999999999"} {
		_, ok := subjectOf(bad, o.prefix)
		assert.False(t, ok, bad)
	}
}
