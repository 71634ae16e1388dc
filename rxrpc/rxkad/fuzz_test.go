package rxkad

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// isRefusal demands an error that a peer can be told, or none.
func isRefusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok, "%v", err)
	require.NotEmpty(t, e.Code.Name())
}

// FuzzTicket4 parses what comes out of decrypting something with some key.
func FuzzTicket4(f *testing.F) {
	id := Identity{Name: "alice", Instance: "admin", Cell: "TEST.ORG", Begins: 1}
	f.Add(appendTicket4(nil, &id, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, 100, "afs", ""))
	f.Add(make([]byte, oddTicketSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseTicket4(b, OpenAFSLifetimes)
		isRefusal(t, err)
		if err != nil {
			return
		}
		require.NotEmpty(t, got.Name)
		for _, s := range []string{got.Name, got.Instance, got.Cell} {
			require.LessOrEqual(t, len(s), maxName)
			require.False(t, strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }))
		}
		again, err := parseTicket4(appendTicket4(nil, &got.Identity, got.session, lifeAlways, "afs", ""), OpenAFSLifetimes)
		require.NoError(t, err)
		again.Expires = got.Expires
		require.Equal(t, *got, *again)
	})
}

// FuzzTicket5 opens tickets of both kinds that come from anybody, and with sealed also what somebody with the
// service's key may have put into one.
func FuzzTicket5(f *testing.F) {
	k := NewKey([]byte("0123456789abcdef0123456789abcdef"))
	token, err := LocalAuth5(k, 5, 18)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Ticket, false)
	f.Add(token.Ticket, true)
	cfg := &NewServer(ServerConfig{Keys: KeysFunc(func(q KeyQuery) (Key, error) {
		if q.EncType == DES {
			return NewKey([]byte("8 bytes.")), nil
		}
		return k, nil
	})}).cfg
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		version := Kerberos5Part
		if whole {
			version = Kerberos5
		}
		_, err := openTicket5(b, version, 52, cfg)
		isRefusal(t, err)
		_, err = parseTicket5(b, cfg)
		isRefusal(t, err)
	})
}

// FuzzResponse gives a server anything as a response, of captured clients to begin with.
func FuzzResponse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(captureDir, "*", "*rxkad*.pcap"))
	if err != nil || len(files) == 0 {
		f.Fatal("no captures")
	}
	for _, path := range files {
		for _, p := range readCapture(f, path) {
			if h, body, err := wire.ParseHeader(p.data); err == nil && h.Type == wire.TypeResponse {
				f.Add(body)
			}
		}
	}
	srv := NewServer(ServerConfig{Keys: cellKeys(f)})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := srv.NewServer(exampleConn)
		require.NoError(t, err)
		known := calls{1, 2, 3, 4}
		raised, err := s.Verify(0, b, known)
		isRefusal(t, err)
		require.Error(t, err, "nobody can answer a challenge that was never sent")
		require.Equal(t, known, raised)
		require.True(t, s.NeedsChallenge())
	})
}

// FuzzChallenge gives a client anything as a challenge.
func FuzzChallenge(f *testing.F) {
	f.Add(challenge{nonce: 1, minLevel: Encrypt}.append(nil))
	f.Add([]byte{0, 0, 0, 2})
	token, err := LocalAuth4(NewKey([]byte("8 bytes.")), 3)
	if err != nil {
		f.Fatal(err)
	}
	client, err := NewClient(token, Auth)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := client.NewClient(exampleConn)
		require.NoError(t, err)
		r, err := c.Respond(nil, b, calls{})
		isRefusal(t, err)
		if err != nil {
			require.Empty(t, r)
			return
		}
		require.Len(t, r, responseSize+len(token.Ticket), "an answer of a length that nobody chooses")
		ch, err := parseChallenge(b)
		require.NoError(t, err)
		require.LessOrEqual(t, ch.minLevel, Auth)
	})
}

// FuzzOpen opens anything as a packet, at each level.
func FuzzOpen(f *testing.F) {
	s := &sealer{}
	s.setKey([8]byte{1, 2, 3, 4, 5, 6, 7, 8}, exampleConn)
	id := proto.PacketID{Call: 1, Channel: 1, Seq: 1}
	for l := Plain; l <= Encrypt; l++ {
		s.level = l
		b, _ := s.seal(nil, id, []byte("some data"))
		f.Add(b, byte(l))
	}
	f.Fuzz(func(t *testing.T, b []byte, l byte) {
		s := *s
		s.level = Level(l % 3)
		got, err := s.open(nil, id, b)
		isRefusal(t, err)
		require.LessOrEqual(t, len(got), len(b))
	})
}
