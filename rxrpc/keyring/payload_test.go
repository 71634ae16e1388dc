package keyring

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

func testToken(t testing.TB) Token {
	t.Helper()
	token, err := rxkad.PrintTicket4(rxkad.NewKey([]byte(desKey)), 3, rxkad.TicketRequest{
		Name: "tester", Begins: 1700000000, Expires: 1700003600, Session: rxkad.NewKey([]byte("s3cr3tK!")),
	})
	require.NoError(t, err)
	return Token{token, 1001, true}
}

func equalTokens(t testing.TB, want, got Token) {
	t.Helper()
	assert.True(t, want.Session.Equal(got.Session))
	assert.Equal(t, want.Ticket, got.Ticket)
	assert.Equal(t, [5]any{want.Version, want.Begins, want.Expires, want.ViceID, want.Primary}, [5]any{got.Version, got.Begins, got.Expires, got.ViceID, got.Primary})
}

func TestXDR(t *testing.T) {
	one, two := testToken(t), testToken(t)
	two.ViceID, two.Primary = 7, false
	two.Token.Expires = 1600000000
	b, err := AppendXDR([]byte("before"), "example.com", one, two)
	require.NoError(t, err)
	b = b[6:]
	assert.Equal(t, "\x00\x00\x00\x00\x00\x00\x00\x0bexample.com\x00\x00\x00\x00\x02", string(b[:24]))
	got, cell, err := parsePayload(b)
	require.NoError(t, err)
	assert.Equal(t, "example.com", cell)
	require.Len(t, got, 2)
	equalTokens(t, one, got[0])
	equalTokens(t, two, got[1])
	assert.EqualValues(t, 1600000000, expiry(got), "the first to end")
	again, err := AppendXDR(nil, cell, got...)
	require.NoError(t, err)
	assert.Equal(t, b, again)
	for n := 1; n < len(b); n++ {
		_, _, err := parsePayload(b[:n])
		require.Error(t, err, "cut to %d", n)
	}
	_, _, err = parsePayload(append(bytes.Clone(b), 0, 0, 0, 0))
	require.Error(t, err, "nothing may follow")
}

func TestXDRRefused(t *testing.T) {
	good, err := AppendXDR(nil, "cell", testToken(t))
	require.NoError(t, err)
	be := binary.BigEndian
	for _, c := range []struct {
		why  string
		at   int
		v    uint32
		want error
	}{
		{"flags", 0, 1, nil},
		{"cell too long", 4, 65, nil},
		{"cell beyond the end", 4, 1 << 31, nil},
		{"no cell", 4, 0, nil},
		{"not printable", 8, 0x01020304, nil},
		{"no tokens", 12, 0, nil},
		{"nine tokens", 12, 9, nil},
		{"a token of 16 bytes", 16, 16, nil},
		{"a token beyond the end", 16, 1<<32 - 1, nil},
		{"another class", 20, 6, ErrNoSupport},
		{"ticket longer than its token", 52, 40, ErrRejected},
		{"ticket too long", 52, 12001, ErrRejected},
		{"ticket of 4 GB (CVE-2017-7482)", 52, 1<<32 - 1, ErrRejected},
	} {
		b := bytes.Clone(good)
		be.PutUint32(b[c.at:], c.v)
		_, _, err := parsePayload(b)
		require.Error(t, err, c.why)
		if c.want != nil {
			assert.ErrorIs(t, err, c.want, c.why)
		}
	}
	padded, err := AppendXDR(nil, "fivec", testToken(t))
	require.NoError(t, err)
	padded[13] = 1
	_, _, err = parsePayload(padded)
	require.Error(t, err, "padding is 0")
	_, _, err = parsePayload(make([]byte, 20000))
	require.Error(t, err)
	_, err = AppendXDR(nil, "", testToken(t))
	require.Error(t, err)
	_, err = AppendXDR(nil, "cell")
	require.Error(t, err)
}

// CVE-2017-7482: the length of a ticket, rounded up to four bytes, reached three bytes beyond what was checked.
func TestAdvisoryCVE20177482RoundedLengths(t *testing.T) {
	good, err := AppendXDR(nil, "cell", testToken(t))
	require.NoError(t, err)
	n := binary.BigEndian.Uint32(good[52:])
	for more := uint32(1); more <= 8; more++ {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint32(b[52:], n+more)
		_, _, err := parsePayload(b)
		require.ErrorIs(t, err, ErrRejected, "a ticket of %d bytes where %d are", n+more, n)
	}
	for cut := range 4 {
		_, _, err := parsePayload(good[: len(good)-cut-1 : len(good)-cut-1])
		require.Error(t, err)
	}
}

// CVE-2026-31696: the length of a version 1 ticket is bounded before anything is done with it.
func TestAdvisoryCVE202631696TicketLength(t *testing.T) {
	b, err := AppendNative(nil, testToken(t).Token)
	require.NoError(t, err)
	for _, n := range []uint16{0, 1, 31, 33, 12000, 12001, 0x7fff, 0xffff} {
		binary.NativeEndian.PutUint16(b[6:], n)
		_, _, err := parsePayload(b)
		require.Error(t, err, n)
	}
}

func TestNative(t *testing.T) {
	want := testToken(t)
	b, err := AppendNative(nil, want.Token)
	require.NoError(t, err)
	require.Len(t, b, 24+32)
	got, cell, err := parsePayload(b)
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Empty(t, cell)
	want.ViceID, want.Primary, want.Token.Begins = 0, false, 0 // it has no place for these
	equalTokens(t, want, got[0])
	wiped := testToken(t)
	wiped.Wipe()
	_, err = AppendNative(nil, wiped.Token)
	require.Error(t, err)
	_, err = AppendXDR(nil, "cell", wiped)
	require.Error(t, err)
}

func FuzzPayload(f *testing.F) {
	native, err := AppendNative(nil, testToken(f).Token)
	require.NoError(f, err)
	f.Add(native)
	xdr, err := AppendXDR(nil, "example.com", testToken(f), testToken(f))
	require.NoError(f, err)
	f.Add(xdr)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Config{MaxBytes: -1, Now: func() time.Time { return time.Unix(1, 0) }})
		c := Cred{Admin: true}
		ring, err := s.NewKeyring(c, "r")
		require.NoError(t, err)
		id, err := s.Add(c, TypeClient, "afs@cell", b, ring)
		if err != nil {
			require.Len(t, s.keys, 1)
			return
		}
		k := s.keys[id]
		require.LessOrEqual(t, len(k.tokens), maxTokens)
		for _, token := range k.tokens {
			require.Equal(t, 8, token.Session.Len())
			require.LessOrEqual(t, len(token.Ticket), rxkad.MaxTicket)
		}
		if len(k.tokens) == 0 || k.state(s.cfg.Now()) != nil {
			return
		}
		xdr, err := s.Read(c, id)
		require.NoError(t, err)
		tokens, _, isXDR, err := parseXDR(xdr)
		if len(xdr) > maxXDR {
			return
		}
		require.NoError(t, err)
		require.True(t, isXDR)
		require.Len(t, tokens, len(k.tokens))
		for i := range tokens {
			equalTokens(t, k.tokens[i], tokens[i])
		}
	})
}
