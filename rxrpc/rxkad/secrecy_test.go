package rxkad

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// Nothing that holds a key shows it: not printed with any verb, inside another value or not, nor logged,
// nor marshalled.
func TestKeysAreNotShown(t *testing.T) {
	const secret = "s3cr3tK!"
	k := NewKey([]byte(secret))
	token, err := PrintTicket4(key(t, desKey), 3, TicketRequest{Name: "tester", Session: k})
	require.NoError(t, err)
	c, s, resp := connect(t, token, Encrypt, ServerConfig{})
	_, err = s.Verify(0, resp, calls{})
	require.NoError(t, err)
	client, err := NewClient(token, Auth)
	require.NoError(t, err)
	cc, sc := c.(*clientConn), s.(*serverConn)
	opened, err := openTicket4(token.Ticket, eight(t, desKey), OpenAFSLifetimes)
	require.NoError(t, err)
	require.Equal(t, secret, string(opened.session[:]))

	forms := []string{
		secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.Trim(fmt.Sprintf("%#v", []byte(secret)), "[]byte{}"),
	}
	hides := func(what, out string) {
		t.Helper()
		for _, f := range forms {
			assert.NotContains(t, out, f, what)
		}
	}
	type holder struct {
		k     Key
		K     Key
		token Token
		c     *Client
		conn  proto.SecurityConn
	}
	for _, v := range []any{k, &k, token, *token, client, cc, sc, sc.secure, cc.sealer, opened, holder{k, k, *token, client, c}, &holder{k, k, *token, client, s}, []Key{k}, map[string]*Token{"": token}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			hides(fmt.Sprintf("%T %s", v, verb), fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			hides(fmt.Sprintf("%T json", v), string(b))
		}
		var g bytes.Buffer
		if err := gob.NewEncoder(&g).Encode(v); err == nil {
			hides(fmt.Sprintf("%T gob", v), g.String())
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("x", "v", v)
		hides(fmt.Sprintf("%T slog", v), text.String()+js.String())
	}
	_, err = json.Marshal(k)
	require.Error(t, err)
	_, err = json.Marshal(token)
	require.Error(t, err)
	_, err = k.MarshalBinary()
	require.Error(t, err)
	assert.Equal(t, "[key]", fmt.Sprint(k))
	for _, v := range []any{token, *token} {
		assert.Regexp(t, `^rxkad token \(Kerberos 4, key version 3, ticket of 32 bytes, expires 2.*Z\)$`, fmt.Sprintf("%x", v))
	}
}

func TestKeysAreWiped(t *testing.T) {
	k := NewKey([]byte("s3cr3tK!"))
	same, mem := k, *k.s.b
	k.Wipe()
	assert.Zero(t, same.Len(), "for all copies")
	assert.Equal(t, make([]byte, 8), mem)
	k.Wipe()
	Key{}.Wipe()

	c, s, resp := connect(t, tokens(t)["kerberos 4"], Encrypt, ServerConfig{})
	_, err := s.Verify(0, resp, calls{})
	require.NoError(t, err)
	inner := s.(*serverConn).secure
	c.Wipe()
	s.Wipe()
	assert.Equal(t, sealer{}, *c.(*clientConn).sealer)
	assert.Equal(t, sealer{}, inner.sealer)
	_, err = s.Open(nil, proto.PacketID{}, make([]byte, 16))
	assert.Error(t, err)
	_, err = s.Verify(0, resp, calls{})
	assert.Error(t, err)

	token := tokens(t)["kerberos 4"]
	token.Wipe()
	_, err = NewClient(token, Encrypt)
	assert.ErrorIs(t, err, BadKey)
}

// CVE-2026-46012: a response that is refused leaves nothing behind.
func TestAdvisoryCVE202646012RefusedResponseLeavesNothing(t *testing.T) {
	_, s, resp := connect(t, tokens(t)["kerberos 4"], Plain, ServerConfig{MinLevel: Plain, Authorize: func(*Identity) error { return NoAuth }})
	_, err := s.Verify(0, resp, calls{})
	require.ErrorIs(t, err, NoAuth)
	assert.Nil(t, s.(*serverConn).secure)
}

// CVE-2026-43500 ("Dirty Frag"): what was received stays as it was, whoever shares its memory.
func TestAdvisoryCVE202643500NothingIsDecryptedInPlace(t *testing.T) {
	id := proto.PacketID{Call: 1, Seq: 1}
	for l := Plain; l <= Encrypt; l++ {
		s := exampleSealer(t, l)
		body, _ := s.seal(nil, id, bytes.Repeat([]byte("data"), 300))
		received := bytes.Clone(body)
		_, err := s.open(make([]byte, 0, 4096), id, received)
		require.NoError(t, err)
		require.Equal(t, body, received)
	}
	_, s, resp := connect(t, tokens(t)["kerberos 4"], Plain, ServerConfig{})
	before := bytes.Clone(resp)
	_, err := s.Verify(0, resp, calls{})
	require.NoError(t, err)
	require.Equal(t, before, resp)
}

// Linux cade36eed7: an authenticator of any length and number of bytes stops nobody's machine; a length that a peer
// names is compared before anything is allocated for it.
func TestAdvisoryOversizedResponse(t *testing.T) {
	_, _, resp := connect(t, tokens(t)["kerberos 5"], Plain, ServerConfig{})
	for _, n := range []uint32{0, 1, MinTicket - 1, MaxTicket, MaxTicket + 1, 1 << 31, 1<<32 - 1} {
		b := bytes.Clone(resp)
		b[52], b[53], b[54], b[55] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		s, err := NewServer(ServerConfig{Keys: cellKeys(t)}).NewServer(exampleConn)
		require.NoError(t, err)
		_, err = s.Verify(0, b, calls{})
		require.Error(t, err)
		isRefusal(t, err)
	}
	s, err := NewServer(ServerConfig{Keys: cellKeys(t)}).NewServer(exampleConn)
	require.NoError(t, err)
	_, err = s.Verify(0, append(resp, make([]byte, 65000)...), calls{})
	require.ErrorIs(t, err, OutOfSequence, "what follows the ticket does not count")
}

// OPENAFS-SA-2015-007 ("Tattletale"): every byte that is sent is one that was meant.
func TestAdvisorySA2015007NothingUninitialised(t *testing.T) {
	dirty := bytes.Repeat([]byte{0xa5}, 2048)
	id := proto.PacketID{Call: 1, Seq: 1}
	for l := Auth; l <= Encrypt; l++ {
		s := exampleSealer(t, l)
		for n := range 20 {
			copy(dirty, bytes.Repeat([]byte{0xa5}, 2048))
			body := s.layOut(dirty[:0], id, make([]byte, n))
			head := authHeader
			assert.Equal(t, make([]byte, len(body)-head), body[head:], "%v %d", l, n)
		}
	}
	_, s, _ := connect(t, tokens(t)["kerberos 4"], Plain, ServerConfig{})
	assert.Equal(t, make([]byte, 4), s.Challenge(dirty[:0])[12:])
}

// OPENAFS-SA-2013-003: a service without DES keys takes no tickets of DES.
func TestAdvisorySA2013003NoDES(t *testing.T) {
	token := tokens(t)["kerberos 4"]
	_, s, resp := connect(t, token, Plain, ServerConfig{Keys: KeysFunc(func(q KeyQuery) (Key, error) {
		if q.EncType == 18 {
			return key(t, aesKey), nil
		}
		return Key{}, ErrNoKey
	})})
	_, err := s.Verify(0, resp, calls{})
	require.ErrorIs(t, err, UnknownKey)
}
