package rxkeys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const secret = "\x01\x23\x45\x67\x89\xab\xcd\xef"

// A process asks the keys as the agent does for it: its port and credentials are the kernel's word.
type process struct {
	connector.Endpoint
	keys *rxkeys.Keys
	from connector.From
	said *bytes.Buffer // everything that was on the bus
}

func (p *process) Call(ctx context.Context, m connector.Message, _ connector.Dest) (connector.Event, error) {
	h, body, err := rxmsg.ParseHeader(m.Data)
	if err != nil {
		return connector.Event{}, err
	}
	value, reply, err := p.keys.Do(ctx, p.from, h, body)
	r := rxmsg.Reply{Op: h.Op, Value: value}
	if err != nil {
		if !errors.As(err, &r.Errno) {
			return connector.Event{}, fmt.Errorf("no errno: %w", err)
		}
		reply = []byte(err.Error())
	}
	p.said.Write(m.Data)
	p.said.Write(reply)
	return connector.Event{Msg: connector.Message{ID: cbid.RxRPC, Data: append(r.Append(nil), reply...)}}, nil
}

var ports uint32

func start(k *rxkeys.Keys, uid uint32) (*process, *rxkeys.Client) {
	ports++
	p := &process{keys: k, from: connector.From{Port: ports, Cred: connector.Cred{UID: uid, GID: uid, PID: 7}}, said: &bytes.Buffer{}}
	return p, &rxkeys.Client{Endpoint: p}
}

func TestKeysOfAUser(t *testing.T) {
	k := rxkeys.New(nil)
	_, c := start(k, 1000)
	ctx := t.Context()
	own, err := c.Keyring(ctx, 1000)
	require.NoError(t, err)
	id, err := c.Add(ctx, keyring.TypeServer, "52:2", []byte(secret), rxkeys.OwnRing, time.Hour)
	require.NoError(t, err)
	ring, err := c.Add(ctx, keyring.TypeKeyring, "AFSkeys", nil, own, 0)
	require.NoError(t, err)
	inner, err := c.Add(ctx, keyring.TypeServer, "53:2", []byte(secret), ring, 0)
	require.NoError(t, err)

	_, other := start(k, 1000) // another process of the same user
	all, err := other.List(ctx, rxkeys.OwnRing)
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, []any{id, keyring.TypeServer, "52:2", uint32(1000), 8, 1}, []any{all[0].ID, all[0].Type, all[0].Description, all[0].UID, all[0].Size, all[0].Links})
	assert.WithinDuration(t, time.Now().Add(time.Hour), all[0].Expires, time.Minute)
	assert.Equal(t, []any{ring, keyring.TypeKeyring, "AFSkeys", 1}, []any{all[1].ID, all[1].Type, all[1].Description, all[1].Size})
	found, err := other.Search(ctx, rxkeys.OwnRing, keyring.TypeServer, "53:2")
	require.NoError(t, err)
	assert.Equal(t, inner, found)

	again, err := other.Add(ctx, keyring.TypeServer, "52:2", []byte("\xa7\x83\x8a\xcb\xc7\x83\xec\x94"), rxkeys.OwnRing, 0)
	require.NoError(t, err)
	assert.Equal(t, id, again, "the same key, with another payload")
	require.NoError(t, other.SetTimeout(ctx, id, time.Minute))
	i, err := c.Describe(ctx, id)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(time.Minute), i.Expires, time.Minute/2)

	require.NoError(t, c.Link(ctx, inner, own))
	require.NoError(t, c.Unlink(ctx, inner, ring))
	_, err = c.Describe(ctx, inner)
	require.NoError(t, err)
	require.NoError(t, c.Unlink(ctx, inner, rxkeys.OwnRing))
	_, err = c.Describe(ctx, inner)
	assert.ErrorIs(t, err, errno.NoKey)

	require.NoError(t, c.Revoke(ctx, id))
	i, err = c.Describe(ctx, id)
	require.NoError(t, err)
	assert.True(t, i.Revoked)
	_, err = c.Search(ctx, rxkeys.OwnRing, keyring.TypeServer, "52:2")
	assert.ErrorIs(t, err, errno.KeyRevoked)
	require.NoError(t, c.Clear(ctx, rxkeys.OwnRing))
	all, err = c.List(ctx, rxkeys.OwnRing)
	require.NoError(t, err)
	assert.Empty(t, all)
}

// For a process keys of another user are not there, by whatever name, until their owner lets it.
func TestKeysOfOthersAreNotThere(t *testing.T) {
	k := rxkeys.New(nil)
	ctx := t.Context()
	owner, mine := start(k, 1000)
	stranger, theirs := start(k, 1001)
	id, err := mine.Add(ctx, keyring.TypeClient, "afs@example.org", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	ring, err := mine.Keyring(ctx, 1000)
	require.NoError(t, err)
	all, err := theirs.List(ctx, rxkeys.OwnRing)
	require.NoError(t, err)
	assert.Empty(t, all)
	_, err = theirs.Keyring(ctx, 1000)
	refused := []error{err}
	_, err = theirs.Describe(ctx, id)
	refused = append(refused, err)
	_, err = theirs.List(ctx, ring)
	refused = append(refused, err)
	_, err = theirs.Search(ctx, ring, keyring.TypeClient, "afs@example.org")
	refused = append(refused, err)
	_, err = theirs.Add(ctx, keyring.TypeClient, "x", nil, ring, 0)
	refused = append(refused, err)
	_, err = k.Key(ctx, stranger.from, uint32(id))
	refused = append(refused, err)
	_, err = k.Source(stranger.from).RequestKey("afs@example.org")
	refused = append(refused, err)
	_, err = k.Source(stranger.from).RequestKeyring("_uid.1000")
	refused = append(
		refused, err, theirs.Revoke(ctx, id), theirs.Unlink(ctx, id, ring), theirs.Link(ctx, id, rxkeys.OwnRing), theirs.Clear(ctx, ring),
		theirs.SetPerm(ctx, id, keyring.AllRights), theirs.SetTimeout(ctx, id, time.Second),
	)
	for i, err := range refused {
		assert.ErrorIs(t, err, errno.NoKey, i)
		assert.NotErrorIs(t, err, syscall.EACCES, i)
	}
	_, err = k.Key(ctx, owner.from, uint32(id))
	require.NoError(t, err)

	require.NoError(t, mine.SetPerm(ctx, id, keyring.AllRights<<keyring.ForPossessor|keyring.View|keyring.Search|keyring.Link))
	_, err = theirs.Describe(ctx, id)
	require.NoError(t, err)
	require.NoError(t, theirs.Link(ctx, id, rxkeys.OwnRing))
	_, err = k.Source(stranger.from).RequestKey("afs@example.org")
	assert.NoError(t, err)
	_, err = theirs.Describe(ctx, ring)
	assert.ErrorIs(t, err, errno.NoKey)
}

// Root manages the keys of everybody, and has its own.
func TestRoot(t *testing.T) {
	k := rxkeys.New(nil)
	ctx := t.Context()
	_, mine := start(k, 1000)
	id, err := mine.Add(ctx, keyring.TypeServer, "52:2", []byte(secret), rxkeys.OwnRing, 0)
	require.NoError(t, err)
	p, root := start(k, 0)
	ring, err := root.Keyring(ctx, 1000)
	require.NoError(t, err)
	all, err := root.List(ctx, ring)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, id, all[0].ID)
	own, err := root.List(ctx, rxkeys.OwnRing)
	require.NoError(t, err)
	assert.Empty(t, own)
	_, err = root.Search(ctx, rxkeys.OwnRing, keyring.TypeServer, "52:2")
	assert.ErrorIs(t, err, errno.NoKey, "it is not root's")
	require.NoError(t, root.Revoke(ctx, id))
	_, err = root.Keyring(ctx, 4711)
	assert.ErrorIs(t, err, errno.NoKey)
	assert.NotContains(t, p.said.String(), secret)
}

// What goes in does not come out: by no operation, with no body, for nobody; not in a trace and not in what is printed.
func TestNoKeyComesOut(t *testing.T) {
	k := rxkeys.New(nil)
	ctx := t.Context()
	token, err := rxkad.LocalAuth4(rxkad.NewKey([]byte(secret)), 3)
	require.NoError(t, err)
	payload, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)
	session := string(payload[16:24])
	var ids []keyring.ID
	var everybody []*process
	for _, uid := range []uint32{1000, 0} {
		p, c := start(k, uid)
		everybody = append(everybody, p)
		if uid == 1000 {
			a, err := c.Add(ctx, keyring.TypeServer, "52:2", []byte(secret), rxkeys.OwnRing, 0)
			require.NoError(t, err)
			b, err := c.Add(ctx, keyring.TypeClient, "afs@example.org", payload, rxkeys.OwnRing, 0)
			require.NoError(t, err)
			ids = append(ids, a, b)
		}
	}
	search, err := (&rxmsg.KeyAdd{Type: "rxrpc", Description: "afs@example.org"}).Append(nil)
	require.NoError(t, err)
	for op := rxmsg.OpKeyFirst; op <= rxmsg.OpKeyLast; op++ {
		if op == rxmsg.OpKeyRevoke || op == rxmsg.OpKeyUnlink || op == rxmsg.OpKeyClear {
			continue // what is gone cannot be told
		}
		for _, body := range [][]byte{nil, {0, 0, 0, 0}, {255, 255, 0, 0}, search} {
			for _, arg := range []uint64{0, uint64(ids[0]), uint64(ids[1]), rxmsg.OwnKeyring, 1000, rxmsg.KeyArg(uint32(ids[1]), 1)} {
				for _, p := range everybody {
					_, reply, err := p.keys.Do(ctx, p.from, rxmsg.Header{Op: op, Arg: arg}, body)
					said := fmt.Sprintf("%s %v %+v %#v", reply, err, p.keys, err)
					assert.NotContains(t, said, secret, "%v", op)
					assert.NotContains(t, said, session, "%v", op)
				}
			}
		}
	}
	add, err := (&rxmsg.KeyAdd{Type: "rxrpc_s", Description: "52:2", Payload: []byte("SECRETXX")}).Append(nil)
	require.NoError(t, err)
	for _, p := range everybody {
		assert.NotContains(t, p.said.String(), secret, "nor is it on the bus")
		assert.NotContains(t, p.said.String(), session)
	}
	text, ok := rxmsg.Describe(connector.Message{ID: cbid.RxRPC, Data: append(rxmsg.Header{Op: rxmsg.OpKeyAdd}.Append(nil), add...)})
	require.True(t, ok)
	assert.Equal(t, `rxrpc KEY_ADD "rxrpc_s" "52:2", 8 bytes`, text)
}

func TestWhatIsRefused(t *testing.T) {
	k := rxkeys.New(&rxkeys.Config{Store: keyring.Config{MaxKeys: 5}})
	ctx := t.Context()
	p, c := start(k, 1000)
	add := func(typ keyring.Type, description string, payload []byte) error {
		_, err := c.Add(ctx, typ, description, payload, rxkeys.OwnRing, 0)
		return err
	}
	assert.ErrorIs(t, add("user", "x", nil), syscall.ENODEV)
	assert.ErrorIs(t, add(keyring.TypeServer, "x", []byte(secret)), syscall.EINVAL)
	assert.ErrorIs(t, add(keyring.TypeServer, "52:2", []byte("\x01\x01\x01\x01\x01\x01\x01\x01")), errno.KeyRejected)
	assert.ErrorIs(t, add(keyring.TypeClient, "x", make([]byte, 1<<15)), syscall.E2BIG)
	assert.ErrorIs(t, add(keyring.TypeClient, strings.Repeat("x", 5000), nil), syscall.EINVAL)
	for i := range 4 {
		require.NoError(t, add(keyring.TypeClient, fmt.Sprint(i), nil))
	}
	err := add(keyring.TypeClient, "one more", nil)
	assert.ErrorIs(t, err, syscall.EDQUOT)
	assert.EqualError(t, err, `rxrpc agent: keyring: add rxrpc "one more": the owner has too many keys, or too large ones (5 keys)`)
	_, other := start(k, 1001)
	_, err = other.Add(ctx, keyring.TypeClient, "1", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err, "of others there is room")
	assert.ErrorIs(t, c.SetTimeout(ctx, 1, -1), syscall.EINVAL)
	_, _, err = k.Do(ctx, p.from, rxmsg.Header{Op: rxmsg.OpKeyLast}, nil)
	assert.ErrorIs(t, err, syscall.EOPNOTSUPP)
}

// The answer to a list of many keys is asked for in parts.
func TestManyKeys(t *testing.T) {
	k := rxkeys.New(&rxkeys.Config{Store: keyring.Config{MaxBytes: 1 << 20, MaxKeys: 1000}})
	_, c := start(k, 1000)
	var want []string
	for i := range 500 {
		d := fmt.Sprintf("%03d", i) + strings.Repeat("x", i)
		_, err := c.Add(t.Context(), keyring.TypeClient, d, nil, rxkeys.OwnRing, 0)
		require.NoError(t, err)
		want = append(want, d)
	}
	all, err := c.List(t.Context(), rxkeys.OwnRing)
	require.NoError(t, err)
	got := []string{}
	for _, i := range all {
		got = append(got, i.Description)
	}
	assert.Equal(t, want, got)
}

// A keyring outlives the processes of its user while there is something in it, and no longer.
func TestTheLastProcessGoes(t *testing.T) {
	k := rxkeys.New(nil)
	ctx := t.Context()
	_, root := start(k, 0)
	p, c := start(k, 1000)
	id, err := c.Add(ctx, keyring.TypeClient, "x", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	k.Gone(p.from)
	_, err = root.Describe(ctx, id)
	require.NoError(t, err)
	p, c = start(k, 1000)
	require.NoError(t, c.Unlink(ctx, id, rxkeys.OwnRing))
	_, err = root.Keyring(ctx, 1000)
	require.NoError(t, err)
	k.Gone(p.from)
	_, err = root.Keyring(ctx, 1000)
	assert.ErrorIs(t, err, errno.NoKey)
	k.Gone(p.from)

	// Who revokes his keyring has a new one.
	_, c = start(k, 1000)
	ring, err := c.Keyring(ctx, 1000)
	require.NoError(t, err)
	require.NoError(t, c.Revoke(ctx, ring))
	again, err := c.Keyring(ctx, 1000)
	require.NoError(t, err)
	assert.NotEqual(t, ring, again)
	_, err = c.Add(ctx, keyring.TypeClient, "x", nil, rxkeys.OwnRing, 0)
	assert.NoError(t, err)
}

// Sockets of a user use the keys of the user: as server, as client, by name and by number.
func TestSocketsUseTheKeysOfTheirUser(t *testing.T) {
	t.Cleanup(rxrpc.CloseShared)
	k := rxkeys.New(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, c := start(k, 1000)
	ring, err := c.Add(ctx, keyring.TypeKeyring, "AFSkeys", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	_, err = c.Add(ctx, keyring.TypeServer, "52:2", []byte(secret), ring, 0)
	require.NoError(t, err)
	client, mine := start(k, 1001)
	token, err := rxkad.LocalAuth4(rxkad.NewKey([]byte(secret)), 3)
	require.NoError(t, err)
	payload, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)
	require.NoError(t, rxkeys.Installer{Client: mine, Context: ctx}.Add(keyring.TypeClient, "afs@example.org", payload))

	open := func(p *process) *rxrpc.Socket {
		s, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Keys: k.Source(p.from)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open(server)
	assert.ErrorIs(t, s.SetSecurityKey("afs@example.org"), errno.NoKey)
	require.NoError(t, s.SetSecurityKeyring("AFSkeys"))
	require.NoError(t, s.Bind(rxrpc.Addr{Service: 52, Addr: loopback}))
	require.NoError(t, s.Listen(5))
	x := open(client)
	assert.ErrorIs(t, x.SetSecurityKeyring("AFSkeys"), errno.NoKey)
	require.NoError(t, x.SetSecurityKey("afs@example.org"))
	require.NoError(t, x.SetMinSecurityLevel(rxrpc.SecurityEncrypted))
	require.NoError(t, x.Connect(s.Getsockname()))
	_, err = x.Sendmsg(ctx, rxrpc.Msg{Control: rxrpc.Control{CallID: 1, HasCallID: true}, Data: []byte("hello")})
	require.NoError(t, err)
	m, err := s.Recvmsg(ctx, make([]byte, 100), 0)
	require.NoError(t, err)
	assert.Equal(t, rxrpc.CtlNewCall, m.Control.Command)
}

// A payload that was sealed for another agent, for another key, or was changed, is no key.
func TestSealedForAnother(t *testing.T) {
	k, other := rxkeys.New(nil), rxkeys.New(nil)
	p, c := start(k, 1000)
	q, _ := start(other, 1000)
	_, err := c.Add(t.Context(), keyring.TypeServer, "52:2", []byte(secret), rxkeys.OwnRing, 0)
	require.NoError(t, err)
	said := p.said.Bytes()
	at := bytes.Index(said, []byte("rxrpc_s52:2"))
	require.Positive(t, at)
	sealed := bytes.Clone(said[at+len("rxrpc_s52:2"):][:8+48])
	add := func(p *process, description string, payload []byte) error {
		body, err := (&rxmsg.KeyAdd{Type: "rxrpc_s", Description: description, Payload: payload}).Append(nil)
		require.NoError(t, err)
		_, _, err = p.keys.Do(t.Context(), p.from, rxmsg.Header{Op: rxmsg.OpKeyAdd, Flags: rxmsg.FlagSealed}, body)
		return err
	}
	require.NoError(t, add(p, "52:2", sealed))
	assert.ErrorIs(t, add(q, "52:2", sealed), errno.KeyRejected)
	assert.ErrorIs(t, add(p, "53:2", sealed), errno.KeyRejected)
	assert.ErrorIs(t, add(p, "52:2", sealed[:40]), errno.KeyRejected)
	assert.ErrorIs(t, add(p, "52:2", nil), errno.KeyRejected)
	sealed[50] ^= 1
	assert.ErrorIs(t, add(p, "52:2", sealed), errno.KeyRejected)
}
