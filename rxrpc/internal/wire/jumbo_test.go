package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A piece is a DATA packet of its own.
type piece struct {
	h    Header
	body []byte
}

func split(t require.TestingT, datagram []byte) []piece {
	h, body, err := ParseHeader(datagram)
	require.NoError(t, err)
	s, err := SplitData(h, body)
	require.NoError(t, err)
	var out []piece
	for n := s.Len(); ; n-- {
		require.Equal(t, n, s.Len())
		h, body, ok := s.Next()
		if !ok {
			break
		}
		out = append(out, piece{h, body})
	}
	return out
}

func TestJumboSizes(t *testing.T) {
	for n, size := range map[int]int{1: 1412, 2: 2828, 4: 5660, 6: 8492, 8: 11324, MaxJumbo: 65132} {
		assert.Equal(t, size, JumboSize(n))
		assert.Equal(t, n, JumboFit(size))
		assert.Equal(t, max(n-1, 1), JumboFit(size-1))
	}
	assert.Equal(t, 1, JumboFit(0))
	assert.Equal(t, MaxJumbo, JumboFit(1<<20))
	assert.LessOrEqual(t, HeaderSize+JumboSize(MaxJumbo), 65507)
}

func TestJumboOfThree(t *testing.T) {
	h := Header{
		Epoch: 1, CID: 5, Call: 2, Seq: 7, Serial: 100, Type: TypeData, Flags: ClientInitiated | MorePackets,
		UserStatus: 1, Security: 2, Checksum: 0x1111, Service: 52,
	}
	full := bytes.Repeat([]byte{0xaa}, JumboData)
	var j Joiner
	j.Reset([]byte("before"))
	require.NoError(t, j.Add(h, full))
	h2 := h
	h2.Seq, h2.Serial, h2.UserStatus, h2.Checksum = 8, 101, 0, 0x2222
	require.NoError(t, j.Add(h2, full))
	h3 := h2
	h3.Seq, h3.Serial, h3.Flags, h3.Checksum = 9, 102, ClientInitiated|LastPacket|RequestAck, 0x3333
	require.NoError(t, j.Add(h3, []byte("end")))
	assert.Equal(t, 3, j.Len())
	b := j.Bytes()[6:]
	assert.Len(t, b, j.Size())
	assert.Len(t, b, HeaderSize+1412+4+1412+4+3)
	assert.Equal(t, unhex(t, "29 00 2222"), b[HeaderSize+1412:][:4])
	assert.Equal(t, unhex(t, "07 00 3333"), b[HeaderSize+2828:][:4])

	h.Flags |= JumboPacket
	h2.Flags |= JumboPacket
	assert.Equal(t, []piece{{h, full}, {h2, full}, {h3, []byte("end")}}, split(t, b))
}

func TestJumboTruncated(t *testing.T) {
	var j Joiner
	j.Reset(nil)
	h := Header{Call: 1, Seq: 1, Serial: 1, Type: TypeData, Service: 1}
	for range 3 {
		require.NoError(t, j.Add(h, make([]byte, JumboData)))
		h.Seq++
		h.Serial++
	}
	h, body, err := ParseHeader(j.Bytes())
	require.NoError(t, err)
	for n := range len(body) + 1 {
		s, err := SplitData(h, body[:n:n])
		if n < 2*(JumboData+JumboHeaderSize) {
			require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
			require.Zero(t, s.Len())
		} else {
			require.NoError(t, err, "%d bytes", n)
			require.Equal(t, 3, s.Len())
		}
	}
	_, err = SplitData(h, append(bytes.Clone(body), 0))
	require.ErrorIs(t, err, ErrMalformed, "a last packet that is too long")
}

func TestJumboLastOnlyAtTheEnd(t *testing.T) {
	body := make([]byte, JumboSize(3))
	h := Header{Type: TypeData, Flags: JumboPacket | LastPacket}
	_, err := SplitData(h, body)
	require.ErrorIs(t, err, ErrMalformed)
	h.Flags = JumboPacket
	body[JumboData] = byte(JumboPacket | LastPacket)
	_, err = SplitData(h, body)
	require.ErrorIs(t, err, ErrMalformed)
	body[JumboData] = byte(LastPacket)
	_, err = SplitData(h, body)
	require.ErrorIs(t, err, ErrMalformed, "too long")
	_, err = SplitData(h, body[:JumboSize(2)])
	require.NoError(t, err)
}

// A jumbo header cannot turn a packet around.
func TestJumboGoesOneWay(t *testing.T) {
	body := make([]byte, JumboSize(2))
	body[JumboData] = byte(ClientInitiated | LastPacket)
	for _, from := range []Flags{0, ClientInitiated} {
		h := Header{Type: TypeData, Seq: 1, Flags: JumboPacket | from, UserStatus: UpgradeRequest}
		s, err := SplitData(h, body)
		require.NoError(t, err)
		s.Next()
		second, _, ok := s.Next()
		require.True(t, ok)
		assert.Equal(t, from|LastPacket, second.Flags)
		assert.Zero(t, second.UserStatus)
	}
}

func TestLoneDataMayBeLong(t *testing.T) {
	for _, n := range []int{0, 1, 1411, 1412, 1413, 1444, 65479} {
		s, err := SplitData(Header{Type: TypeData}, make([]byte, n))
		require.NoError(t, err)
		_, body, ok := s.Next()
		assert.True(t, ok)
		assert.Len(t, body, n)
		_, _, ok = s.Next()
		assert.False(t, ok)
	}
}

func TestJoinerRefuses(t *testing.T) {
	full := make([]byte, JumboData)
	h := Header{Epoch: 1, CID: 4, Call: 1, Seq: 1, Serial: 1, Type: TypeData, Flags: ClientInitiated, Service: 1}
	next := h
	next.Seq, next.Serial = 2, 2
	with := func(f func(*Header)) Header { g := next; f(&g); return g }
	for name, c := range map[string]struct {
		first  Header
		body   []byte
		second Header
		sbody  []byte
		want   error
	}{
		"short before":  {h, full[1:], next, full, errJoinBody},
		"long before":   {h, append(full, 0), next, full, errJoinBody},
		"long behind":   {h, full, next, append(full, 0), errJoinBody},
		"after last":    {with(func(g *Header) { *g = h; g.Flags |= LastPacket }), full, next, full, errJoinLast},
		"seq":           {h, full, with(func(g *Header) { g.Seq++ }), full, errJoinHeader},
		"serial":        {h, full, with(func(g *Header) { g.Serial-- }), full, errJoinHeader},
		"call":          {h, full, with(func(g *Header) { g.Call++ }), full, errJoinHeader},
		"cid":           {h, full, with(func(g *Header) { g.CID++ }), full, errJoinHeader},
		"service":       {h, full, with(func(g *Header) { g.Service++ }), full, errJoinHeader},
		"other way":     {h, full, with(func(g *Header) { g.Flags = 0 }), full, errJoinHeader},
		"upgrade again": {h, full, with(func(g *Header) { g.UserStatus = UpgradeRequest }), full, errJoinHeader},
	} {
		var j Joiner
		j.Reset(nil)
		require.NoError(t, j.Add(c.first, c.body))
		before := bytes.Clone(j.Bytes())
		require.ErrorIs(t, j.Add(c.second, c.sbody), c.want, name)
		assert.Equal(t, before, j.Bytes(), name)
		assert.Equal(t, 1, j.Len(), name)
	}

	var j Joiner
	j.Reset(nil)
	for range MaxJumbo {
		require.NoError(t, j.Add(h, full))
		h.Seq++
		h.Serial++
	}
	require.ErrorIs(t, j.Add(h, full), errJoinFull)
}

func TestJumboRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHeader(t)
		h.Type = TypeData
		h.Flags &^= LastPacket | JumboPacket
		n := rapid.IntRange(1, MaxJumbo).Draw(t, "packets")
		var j Joiner
		j.Reset(make([]byte, 0, 66000))
		var want []piece
		for i := range n {
			body := bytes.Repeat([]byte{byte(i)}, JumboData)
			if i == n-1 {
				h.Flags |= Flags(rapid.SampledFrom([]Flags{0, LastPacket, LastPacket | RequestAck}).Draw(t, "flags"))
				body = body[:rapid.IntRange(0, JumboData).Draw(t, "length")]
			}
			require.NoError(t, j.Add(h, body))
			w := h
			if i < n-1 {
				w.Flags |= JumboPacket
			}
			want = append(want, piece{w, body})
			h.Seq++
			h.Serial++
			h.UserStatus = 0
			h.Checksum = Checksum(rapid.Uint16().Draw(t, "cksum"))
		}
		require.Equal(t, want, split(t, j.Bytes()))
	})
}
