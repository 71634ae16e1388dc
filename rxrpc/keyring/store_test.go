package keyring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const (
	desKey = "\x01\x23\x45\x67\x89\xab\xcd\xef"
	aesKey = "0123456789abcdef0123456789abcdef"
)

// A world is a Store whose clock stands still, and a user with a keyring.
type world struct {
	*Store
	now  time.Time
	user Cred
}

func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	w := &world{now: time.Unix(1800000000, 0)}
	cfg.Now = func() time.Time { return w.now }
	w.Store = New(cfg)
	w.user = w.newUser(t, 1000)
	return w
}

func (w *world) newUser(t testing.TB, uid uint32) Cred {
	t.Helper()
	c := Cred{UID: uid, GID: uid}
	var err error
	c.Ring, err = w.NewKeyring(c, "_ses")
	require.NoError(t, err)
	return c
}

func (w *world) token(t testing.TB, life time.Duration) *rxkad.Token {
	t.Helper()
	r := rxkad.TicketRequest{Name: "tester", Begins: uint32(w.now.Unix()), Expires: uint32(w.now.Add(life).Unix())}
	token, err := rxkad.PrintTicket4(rxkad.NewKey([]byte(desKey)), 3, r)
	require.NoError(t, err)
	return token
}

func native(t testing.TB, token *rxkad.Token) []byte {
	t.Helper()
	b, err := AppendNative(nil, token)
	require.NoError(t, err)
	return b
}

func (w *world) mustAdd(t testing.TB, typ Type, description string, payload []byte, ring ID) ID {
	t.Helper()
	id, err := w.Add(w.user, typ, description, payload, ring)
	require.NoError(t, err)
	return id
}

// refused demands an error of this package that wraps an errno.
func refused(t testing.TB, err error, want syscall.Errno, about ...any) {
	t.Helper()
	require.ErrorIs(t, err, want, about...)
	e, ok := errors.AsType[*Error](err)
	require.True(t, ok, "%v", err)
	require.NotEmpty(t, e.Op)
	require.Contains(t, err.Error(), "keyring: ")
}

func TestAddAndSearch(t *testing.T) {
	w := newWorld(t, Config{})
	a := w.mustAdd(t, TypeServer, "52:2", []byte(desKey), w.user.Ring)
	inner := w.mustAdd(t, TypeKeyring, "inner", nil, w.user.Ring)
	b := w.mustAdd(t, TypeServer, "73:2", []byte(desKey), inner)
	for d, want := range map[string]ID{"52:2": a, "73:2": b} {
		id, err := w.Search(w.user, w.user.Ring, TypeServer, d)
		require.NoError(t, err)
		assert.Equal(t, want, id)
	}
	_, err := w.Search(w.user, w.user.Ring, TypeClient, "52:2")
	refused(t, err, errno.NoKey)
	_, err = w.Search(w.user, a, TypeServer, "52:2")
	refused(t, err, syscall.ENOTDIR)

	again := w.mustAdd(t, TypeServer, "52:2", []byte("\x23\x45\x67\x89\xab\xcd\xef\x01"), w.user.Ring)
	assert.Equal(t, a, again, "the payload is replaced")
	list, err := w.List(w.user, w.user.Ring)
	require.NoError(t, err)
	assert.Equal(t, []ID{a, inner}, list)
	info, err := w.Describe(w.user, a)
	require.NoError(t, err)
	assert.Equal(t, Info{ID: a, Type: TypeServer, Description: "52:2", UID: 1000, GID: 1000, Perm: defaultPerm, Links: 1, Size: 8}, info)

	require.NoError(t, w.Unlink(w.user, a, w.user.Ring))
	_, err = w.Describe(w.user, a)
	refused(t, err, errno.NoKey, "a key that is nowhere is gone")
	refused(t, w.Unlink(w.user, b, w.user.Ring), syscall.ENOENT)
	require.NoError(t, w.Unlink(w.user, inner, w.user.Ring))
	_, err = w.Describe(w.user, b)
	refused(t, err, errno.NoKey, "and what was in it")
	assert.Len(t, w.keys, 1)
}

func TestWhatCannotBeAdded(t *testing.T) {
	w := newWorld(t, Config{})
	r := w.user.Ring
	good := native(t, w.token(t, time.Hour))
	edit := func(at int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.NativeEndian.PutUint32(b[at:], v)
		return b
	}
	long := func(n int) []byte {
		b := append(bytes.Clone(good[:24]), make([]byte, n)...)
		binary.NativeEndian.PutUint16(b[6:], uint16(n))
		return b
	}
	for _, c := range []struct {
		why         string
		typ         Type
		description string
		payload     []byte
		want        syscall.Errno
	}{
		{"type", "user", "x", nil, syscall.ENODEV},
		{"no description", TypeClient, "", nil, syscall.EINVAL},
		{"description", TypeClient, strings.Repeat("x", 4096), nil, syscall.EINVAL},
		{"description with a NUL", TypeClient, "a\x00b", nil, syscall.EINVAL},
		{"keyring with a payload", TypeKeyring, "x", []byte{1}, syscall.EINVAL},
		{"too short", TypeClient, "x", good[:4], syscall.EINVAL},
		{"header cut", TypeClient, "x", good[:23], syscall.EINVAL},
		{"version", TypeClient, "x", edit(0, 2), errno.KeyRejected},
		{"security index", TypeClient, "x", edit(4, 6|32<<16), syscall.EPROTONOSUPPORT},
		{"ticket cut", TypeClient, "x", good[:len(good)-1], syscall.EINVAL},
		{"too much", TypeClient, "x", append(bytes.Clone(good), 0), syscall.EINVAL},
		{"ticket too long", TypeClient, "x", long(12001), errno.KeyRejected},
		{"ticket of 65535", TypeClient, "x", edit(4, 2|0xffff<<16), errno.KeyRejected},
		{"service", TypeServer, "x", []byte(desKey), syscall.EINVAL},
		{"service too large", TypeServer, "65536:2", []byte(desKey), syscall.EINVAL},
		{"index too large", TypeServer, "52:256", []byte(desKey), syscall.EINVAL},
		{"index 0", TypeServer, "52:0", []byte(desKey), syscall.EINVAL},
		{"leading zero", TypeServer, "052:2", []byte(desKey), syscall.EINVAL},
		{"sign", TypeServer, "+52:2", []byte(desKey), syscall.EINVAL},
		{"three parts", TypeServer, "52:2:1", []byte(desKey), syscall.EINVAL},
		{"other class", TypeServer, "52:6", []byte(desKey), syscall.EPROTONOSUPPORT},
		{"key too short", TypeServer, "52:2", []byte("7 bytes"), syscall.EINVAL},
		{"key too long", TypeServer, "52:2", []byte("9 bytes.."), syscall.EINVAL},
		{"weak key", TypeServer, "52:2", []byte("\x01\x01\x01\x01\x01\x01\x01\x01"), errno.KeyRejected},
		{"AES key too short", TypeServer, "52:2:5:18", []byte(desKey), syscall.EINVAL},
		{"encryption type", TypeServer, "52:2:5:99", []byte(desKey), syscall.EPROTONOSUPPORT},
	} {
		_, err := w.Add(w.user, c.typ, c.description, c.payload, r)
		refused(t, err, c.want, c.why)
	}
	w.mustAdd(t, TypeClient, "longest", long(12000), r)
	w.mustAdd(t, TypeServer, "52:2:5:18", []byte(aesKey), r)
	_, err := w.Add(w.user, TypeClient, "x", nil, 4711)
	refused(t, err, errno.NoKey)
	list, err := w.List(w.user, r)
	require.NoError(t, err)
	assert.Len(t, list, 2, "what was refused left nothing")
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, Config{})
	id := w.mustAdd(t, TypeClient, "afs@x", native(t, w.token(t, time.Hour)), w.user.Ring)
	inner := w.keys[id].tokens[0].Token
	require.NoError(t, w.Revoke(w.user, id))
	assert.Zero(t, inner.Session.Len(), "wiped at once")
	for _, err := range []error{
		w.Update(w.user, id, nil), second(w.Read(w.user, id)), second(w.Client(w.user, id, rxkad.Encrypt)), w.Link(w.user, id, w.user.Ring),
		second(w.Search(w.user, w.user.Ring, TypeClient, "afs@x")), second(w.Request(w.user, TypeClient, "afs@x", 0)),
	} {
		refused(t, err, errno.KeyRevoked)
	}
	info, err := w.Describe(w.user, id)
	require.NoError(t, err)
	assert.True(t, info.Revoked)
	w.now = w.now.Add(5*time.Minute - 1)
	refused(t, second(w.Search(w.user, w.user.Ring, TypeClient, "afs@x")), errno.KeyRevoked)
	w.now = w.now.Add(1)
	refused(t, second(w.Search(w.user, w.user.Ring, TypeClient, "afs@x")), errno.NoKey, "collected")
	again := w.mustAdd(t, TypeClient, "afs@x", nil, w.user.Ring)
	assert.NotEqual(t, id, again)
}

func second[T any](_ T, err error) error { return err }

func TestExpiry(t *testing.T) {
	w := newWorld(t, Config{})
	id := w.mustAdd(t, TypeClient, "afs@x", native(t, w.token(t, time.Hour)), w.user.Ring)
	info, err := w.Describe(w.user, id)
	require.NoError(t, err)
	assert.Equal(t, w.now.Add(time.Hour), info.Expires, "as its ticket")
	w.now = w.now.Add(time.Hour)
	refused(t, second(w.Client(w.user, id, rxkad.Plain)), errno.KeyExpired)
	fresh := w.mustAdd(t, TypeClient, "afs@x", native(t, w.token(t, time.Hour)), w.user.Ring)
	assert.NotEqual(t, id, fresh, "in its place")
	require.NoError(t, w.SetTimeout(w.user, fresh, time.Minute))
	w.now = w.now.Add(time.Minute)
	refused(t, second(w.Search(w.user, w.user.Ring, TypeClient, "afs@x")), errno.KeyExpired)
	w.now = w.now.Add(5 * time.Minute)
	refused(t, second(w.Search(w.user, w.user.Ring, TypeClient, "afs@x")), errno.NoKey)

	ring := w.mustAdd(t, TypeKeyring, "r", nil, w.user.Ring)
	in := w.mustAdd(t, TypeServer, "1:2", []byte(desKey), ring)
	require.NoError(t, w.SetTimeout(w.user, ring, time.Second))
	w.now = w.now.Add(10 * time.Minute)
	_, err = w.Describe(w.user, in)
	refused(t, err, errno.NoKey, "collected with its keyring")
}

func TestQuota(t *testing.T) {
	w := newWorld(t, Config{MaxKeys: 3, MaxBytes: 100})
	w.mustAdd(t, TypeServer, "1:2", []byte(desKey), w.user.Ring)
	id := w.mustAdd(t, TypeServer, "2:2", []byte(desKey), w.user.Ring)
	_, err := w.Add(w.user, TypeServer, "3:2", []byte(desKey), w.user.Ring)
	refused(t, err, syscall.EDQUOT)
	other := w.newUser(t, 1001)
	_, err = w.Add(other, TypeServer, "3:2", []byte(desKey), other.Ring)
	require.NoError(t, err, "each user has a quota of his own")
	require.NoError(t, w.Unlink(w.user, id, w.user.Ring))
	w.mustAdd(t, TypeServer, "4:2", []byte(desKey), w.user.Ring)
	require.NoError(t, w.Clear(w.user, w.user.Ring))
	_, err = w.Add(w.user, TypeClient, strings.Repeat("x", 100), nil, w.user.Ring)
	refused(t, err, syscall.EDQUOT, "of bytes")
	admin := w.user
	admin.Admin = true
	_, err = w.Add(admin, TypeClient, strings.Repeat("x", 100), nil, w.user.Ring)
	require.NoError(t, err)
	require.NoError(t, w.Drop(w.user, w.user.Ring))
	require.NoError(t, w.Drop(other, other.Ring))
	assert.Empty(t, w.keys)
	assert.Empty(t, w.users, "everything was accounted for")

	keys := 1
	w = newWorld(t, Config{Quota: func(uint32) (int, int) { return keys, -1 }})
	_, err = w.Add(w.user, TypeServer, "1:2", []byte(desKey), w.user.Ring)
	refused(t, err, syscall.EDQUOT)
	require.ErrorIs(t, err, ErrQuota)
	var q *QuotaError
	require.ErrorAs(t, err, &q)
	assert.Equal(t, QuotaError{"keys", 1}, *q)
	keys = -1
	w.mustAdd(t, TypeServer, "1:2", []byte(desKey), w.user.Ring)
	w.mustAdd(t, TypeClient, strings.Repeat("x", 4000), nil, w.user.Ring)
}

func TestPermissions(t *testing.T) {
	w := newWorld(t, Config{})
	id := w.mustAdd(t, TypeClient, "afs@x", native(t, w.token(t, time.Hour)), w.user.Ring)
	stranger := w.newUser(t, 1001)
	group := w.newUser(t, 1002)
	group.Groups = []uint32{1000}
	same := Cred{UID: 1000, GID: 1000} // the same user without the keyring
	for _, c := range []Cred{stranger, group} {
		refused(t, second(w.Describe(c, id)), syscall.EACCES)
		refused(t, second(w.Read(c, id)), syscall.EACCES)
		refused(t, second(w.Client(c, id, rxkad.Plain)), syscall.EACCES)
		refused(t, w.Update(c, id, nil), syscall.EACCES)
		refused(t, w.Revoke(c, id), syscall.EACCES)
		refused(t, w.Link(c, id, c.Ring), syscall.EACCES)
		refused(t, w.SetPerm(c, id, 0), syscall.EACCES)
		refused(t, w.SetTimeout(c, id, 1), syscall.EACCES)
		refused(t, w.Chown(c, id, c.UID, c.GID), syscall.EACCES)
		refused(t, second(w.Search(c, w.user.Ring, TypeClient, "afs@x")), syscall.EACCES)
		refused(t, second(w.Add(c, TypeClient, "afs@y", nil, w.user.Ring)), syscall.EACCES)
		refused(t, w.Unlink(c, id, w.user.Ring), syscall.EACCES)
		refused(t, w.Clear(c, w.user.Ring), syscall.EACCES)
		refused(t, second(w.List(c, w.user.Ring)), syscall.EACCES)
		refused(t, w.Drop(c, w.user.Ring), syscall.EACCES)
	}
	require.NoError(t, second(w.Describe(same, id)))
	refused(t, second(w.Read(same, id)), syscall.EACCES, "an owner who does not possess it sees it, and no more")

	require.NoError(t, w.SetPerm(w.user, id, AllRights<<ForPossessor|AllRights<<ForUser|(View|Read)<<ForGroup|View))
	require.NoError(t, second(w.Read(same, id)))
	require.NoError(t, second(w.Read(group, id)))
	refused(t, w.Link(group, id, group.Ring), syscall.EACCES)
	require.NoError(t, second(w.Describe(stranger, id)))
	refused(t, w.SetPerm(w.user, id, 1<<7), syscall.EINVAL)

	require.NoError(t, w.SetPerm(w.user, id, AllRights<<ForPossessor|Link))
	require.NoError(t, w.Link(stranger, id, stranger.Ring))
	require.NoError(t, second(w.Read(stranger, id)), "possessed now")
	admin := Cred{Admin: true}
	require.NoError(t, w.Chown(admin, id, 1001, noGroup))
	refused(t, w.SetPerm(w.user, id, 0), syscall.EACCES, "not the owner any more")
	require.NoError(t, w.Revoke(admin, id))
}

func TestKeyringsInKeyrings(t *testing.T) {
	w := newWorld(t, Config{MaxLinks: 8})
	rings := []ID{w.user.Ring}
	for i := range maxDepth - 1 {
		rings = append(rings, w.mustAdd(t, TypeKeyring, fmt.Sprint("r", i), nil, rings[i]))
	}
	_, err := w.Add(w.user, TypeKeyring, "deeper", nil, rings[maxDepth-1])
	refused(t, err, syscall.ELOOP)
	refused(t, w.Link(w.user, rings[0], rings[3]), syscall.EDEADLK)
	refused(t, w.Link(w.user, rings[2], rings[2]), syscall.EDEADLK)
	require.NoError(t, w.Link(w.user, rings[4], rings[0]), "in two")
	require.NoError(t, w.Unlink(w.user, rings[4], rings[3]))
	for i := range 8 {
		w.mustAdd(t, TypeServer, fmt.Sprint(i, ":2"), []byte(desKey), rings[3])
	}
	refused(t, second(w.Add(w.user, TypeServer, "8:2", []byte(desKey), rings[3])), syscall.ENFILE)
	w.mustAdd(t, TypeServer, "7:2", []byte(desKey), rings[3])
	refused(t, w.Update(w.user, rings[3], nil), syscall.EOPNOTSUPP)
}

func TestRead(t *testing.T) {
	w := newWorld(t, Config{})
	token := w.token(t, time.Hour)
	id := w.mustAdd(t, TypeClient, "afs@example.com", native(t, token), w.user.Ring)
	b, err := w.Read(w.user, id)
	require.NoError(t, err)
	copyID := w.mustAdd(t, TypeClient, "afs@copy", b, w.user.Ring)
	got := w.keys[copyID]
	assert.Equal(t, "example.com", got.cell)
	assert.True(t, got.tokens[0].Session.Equal(token.Session))
	assert.Equal(t, token.Ticket, got.tokens[0].Ticket)
	assert.Equal(t, token.Version, got.tokens[0].Version)
	assert.Equal(t, token.Expires, got.tokens[0].Expires)
	for _, d := range []string{"example.com", "other@example.com"} {
		refused(t, second(w.Read(w.user, w.mustAdd(t, TypeClient, d, native(t, token), w.user.Ring))), syscall.EOPNOTSUPP)
	}
	refused(t, second(w.Read(w.user, w.mustAdd(t, TypeClient, "afs@nobody", nil, w.user.Ring))), syscall.EOPNOTSUPP, "no security")
	refused(t, second(w.Read(w.user, w.mustAdd(t, TypeServer, "52:2", []byte(desKey), w.user.Ring))), syscall.EOPNOTSUPP, "nobody reads a service's key")
}

type source map[string][]byte

func (s source) Request(typ Type, d string) ([]byte, error) {
	if b, ok := s[string(typ)+":"+d]; ok {
		return bytes.Clone(b), nil
	}
	return nil, ErrNoKey
}

func TestRequest(t *testing.T) {
	src := source{}
	w := newWorld(t, Config{Sources: []Source{source{}, src}})
	src["rxrpc:afs@x"] = native(t, w.token(t, time.Hour))
	src["rxrpc:bad"] = []byte("nonsense")
	id, err := w.Request(w.user, TypeClient, "afs@x", 0)
	require.NoError(t, err)
	delete(src, "rxrpc:afs@x")
	again, err := w.Request(w.user, TypeClient, "afs@x", 0)
	require.NoError(t, err)
	assert.Equal(t, id, again, "kept in the user's keyring")
	refused(t, second(w.Request(w.user, TypeClient, "bad", 0)), errno.KeyRejected)
	refused(t, second(w.Request(w.user, TypeClient, "afs@y", 0)), errno.NoKey)
	refused(t, second(w.Request(Cred{UID: 7}, TypeClient, "afs@x", 0)), errno.NoKey, "no keyring")
}

var conn = proto.ConnID{Epoch: 0x80000001, CID: 4, Service: 52, Peer: netip.MustParseAddrPort("192.0.2.1:7003")}

// connect makes a connection between a key and a service's key.
func connect(t testing.TB, w *world, c proto.ClientSecurity, keys rxkad.Keys) error {
	t.Helper()
	client, err := c.NewClient(conn)
	if err != nil {
		return err
	}
	server, err := rxkad.NewServer(rxkad.ServerConfig{Keys: keys, Now: func() time.Time { return w.now }}).NewServer(conn)
	require.NoError(t, err)
	response, err := client.Respond(nil, server.Challenge(nil), [wire.Channels]wire.CallNumber{})
	if err != nil {
		return err
	}
	_, err = server.Verify(0, response, [wire.Channels]wire.CallNumber{})
	return err
}

// TestLiveChange: keys of both sides change while they are in use.
func TestLiveChange(t *testing.T) {
	w := newWorld(t, Config{})
	w.now = time.Now() // the client's own clock
	keys := w.ServerKeys(w.user, w.user.Ring)
	id := w.mustAdd(t, TypeClient, "afs@x", native(t, w.token(t, time.Hour)), w.user.Ring)
	c, err := w.Client(w.user, id, rxkad.Encrypt)
	require.NoError(t, err)
	shared := c.Key()
	require.ErrorIs(t, connect(t, w, c, keys), rxkad.UnknownKey)
	service := w.mustAdd(t, TypeServer, "52:2", []byte(desKey), w.user.Ring)
	require.NoError(t, connect(t, w, c, keys))
	require.NoError(t, w.Update(w.user, service, []byte("\xfe\xdc\xba\x98\x76\x54\x32\x10")))
	require.ErrorIs(t, connect(t, w, c, keys), rxkad.BadTicket)
	w.mustAdd(t, TypeServer, "52:2:3:0", []byte(desKey), w.user.Ring)
	require.NoError(t, connect(t, w, c, keys), "a key of the ticket's very version counts more")
	assert.Equal(t, shared, c.Key())

	require.NoError(t, w.Update(w.user, id, native(t, w.token(t, 2*time.Hour))))
	assert.NotEqual(t, shared, c.Key(), "new connections from here on")
	require.NoError(t, connect(t, w, c, keys))
	require.NoError(t, w.Revoke(w.user, w.mustAdd(t, TypeServer, "52:2:3:0", []byte(desKey), w.user.Ring)))
	require.ErrorIs(t, connect(t, w, c, keys), rxkad.NoAuth)
	require.NoError(t, w.Revoke(w.user, id))
	require.ErrorIs(t, connect(t, w, c, keys), errno.KeyRevoked)

	null := w.mustAdd(t, TypeClient, "null", nil, w.user.Ring)
	none, err := w.Client(w.user, null, rxkad.Encrypt)
	require.NoError(t, err)
	assert.Nil(t, none)
	refused(t, second(w.Client(w.user, service, rxkad.Plain)), errno.KeyRejected)
	assert.NotContains(t, fmt.Sprintf("%+v %s %x", c, c, c), "0x")
}

// CVE-2026-31639 and -31634 of Linux: references to keys and keyrings that are changed at the same time.
func TestAdvisoryKeysAreUsedWhileTheyChange(t *testing.T) {
	w := newWorld(t, Config{})
	w.now = time.Now()
	keys := w.ServerKeys(w.user, w.user.Ring)
	payload := native(t, w.token(t, time.Hour))
	id := w.mustAdd(t, TypeClient, "afs@x", payload, w.user.Ring)
	c, err := w.Client(w.user, id, rxkad.Encrypt)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				switch (g + i) % 4 {
				case 0:
					_, _ = w.Add(w.user, TypeServer, "52:2", []byte(desKey), w.user.Ring)
				case 1:
					_ = w.Update(w.user, id, payload)
				case 2:
					if k, err := w.Search(w.user, w.user.Ring, TypeServer, "52:2"); err == nil {
						_ = w.Unlink(w.user, k, w.user.Ring)
					}
				default:
					err := connect(t, w, c, keys)
					if err != nil {
						assert.ErrorIs(t, err, rxkad.UnknownKey)
					}
				}
			}
		})
	}
	wg.Wait()
}
