package tsagent_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// users is the bus of an agent on which ports belong to users other than this process's.
type users struct {
	connector.Bus
	mu  sync.Mutex
	uid map[uint32]uint32
}

func (u *users) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	return u.Bus.AddCallback(ctx, id, name, connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		u.mu.Lock()
		if uid, ok := u.uid[d.From.Port]; ok {
			d.From.Cred.UID = uid
		}
		u.mu.Unlock()
		h.Handle(ctx, d)
	})))
}

func (u *users) FollowPort(ctx context.Context, port uint32, gone func()) (func(), error) {
	return connector.FollowPort(ctx, u.Bus, port, gone)
}

// ofUsers makes a site whose raw clients belong to the users that are asked for.
func ofUsers(t testing.TB, c *tsagent.Config) (s *site, user func(uid uint32) *raw) {
	s, set := asUsers(t, c)
	return s, func(uid uint32) *raw {
		r := s.raw(t)
		set(r, uid)
		return r
	}
}

// asUsers is ofUsers for ports that change hands.
func asUsers(t testing.TB, c *tsagent.Config) (s *site, set func(r *raw, uid uint32)) {
	hub := loopback.New(nil)
	u := &users{Bus: hub.Open(), uid: make(map[uint32]uint32)}
	t.Cleanup(func() { _ = u.Bus.Close() })
	s = &site{bus: func(testing.TB) connector.Bus { return u }}
	s.start(t, c)
	s.bus = func(t testing.TB) connector.Bus {
		b := hub.Open()
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		return b
	}
	return s, func(r *raw, uid uint32) {
		u.mu.Lock()
		u.uid[r.ep.Port()] = uid
		u.mu.Unlock()
	}
}

// freePort is a port that nobody has, for streams and for datagrams, and that the kernel gives to nobody who asks for any.
func freePort(t testing.TB) uint16 {
	t.Helper()
	for range 1000 {
		at := tsocket.MustAddr(tsocket.ParseIP("ipv4", "0.0.0.0", uint16(10_000+rand.IntN(20_000))))
		s, err := tsocket.BindTCP(at, false)
		if err != nil {
			continue
		}
		d, err := tsocket.UDP(at, tsocket.Addr{})
		if err == nil {
			require.NoError(t, d.Close())
		}
		require.NoError(t, s.Close())
		if err == nil {
			return at.Port()
		}
	}
	require.FailNow(t, "no port is free")
	return 0
}

// A user does not get a port, nor a share in one, that another user has of the agent. To the kernel both are the agent.
func TestPortsOfOtherUsers(t *testing.T) {
	_, user := ofUsers(t, &tsagent.Config{Policy: tsagent.AllowAll()})
	mine, other := user(1), user(2)
	wildcard := func(port uint16) tsocket.Addr { return tsocket.MustAddr(tsocket.ParseIP("ipv4", "0.0.0.0", port)) }
	for name, c := range map[string]struct {
		kind  int
		flags uint16
	}{
		"udp":       {unix.SOCK_DGRAM, 0},
		"tcp":       {unix.SOCK_STREAM, 0},
		"reuseport": {unix.SOCK_STREAM, tsagent.FlagReusePort},
	} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			bind := func(r *raw, at tsocket.Addr) (uint32, error) {
				sock := r.open(unix.AF_INET, c.kind)
				_, _, err := r.call(soon(t), tsagent.Header{Op: tsagent.OpBind, Flags: c.flags, Sock: sock}, tsagent.AppendAddr(nil, at))
				return sock, err
			}
			first, err := bind(mine, local4(port))
			require.NoError(t, err)
			second, err := bind(mine, local4(port))
			require.NoError(t, err, "one user may share")
			for _, at := range []tsocket.Addr{local4(port), wildcard(port)} {
				_, err = bind(other, at)
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				require.ErrorContains(t, err, "another user")
			}
			elsewhere, err := bind(other, tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.2", port)))
			require.NoError(t, err, "another address")
			if c.kind == unix.SOCK_STREAM {
				x := other.open(unix.AF_INET, c.kind)
				err = other.refuse(syscall.EADDRINUSE, tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(tsagent.AppendAddr(nil, local4(1)), local4(port)))
				require.ErrorContains(t, err, "another user")
			}
			mine.must(tsagent.Header{Op: tsagent.OpClose, Sock: first})
			_, err = bind(other, local4(port))
			require.ErrorIs(t, err, syscall.EADDRINUSE, "there is the second one")
			mine.must(tsagent.Header{Op: tsagent.OpClose, Sock: second})
			require.Eventually(t, func() bool { _, err := bind(other, local4(port)); return err == nil }, patience, time.Millisecond)
			other.must(tsagent.Header{Op: tsagent.OpClose, Sock: elsewhere})
		})
	}
}

// A port that the kernel has chosen is not shared either.
func TestChosenPortsOfOtherUsers(t *testing.T) {
	_, user := ofUsers(t, &tsagent.Config{Policy: tsagent.AllowAll()})
	mine, other := user(1), user(2)
	x, y := mine.open(unix.AF_INET, unix.SOCK_STREAM), other.open(unix.AF_INET, unix.SOCK_STREAM)
	bind := tsagent.Header{Op: tsagent.OpBind, Flags: tsagent.FlagReusePort, Sock: x}
	_, b := mine.must(bind, tsagent.AppendAddr(nil, local4(0)))
	bind.Sock = y
	err := other.refuse(syscall.EADDRINUSE, bind, b)
	require.ErrorContains(t, err, "another user")
}

// snapshotOf reads STAT by hand.
func (r *raw) snapshot() (s tsagent.Snapshot) {
	r.t.Helper()
	var text []byte
	for {
		reply, b := r.must(tsagent.Header{Op: tsagent.OpStat, Arg: uint64(len(text))})
		text = append(text, b...)
		if len(text) == int(reply.Value) {
			require.NoError(r.t, json.Unmarshal(text, &s))
			return s
		}
	}
}

// A user sees his own sockets. Root, and the agent's user, see all, and those of other agents of the process.
func TestStatShowsWhatIsOnesOwn(t *testing.T) {
	more := []tsagent.SocketInfo{{Num: 1, Owner: "rxrpc", UID: 1001, Family: "ipv4", Type: "dgram"}}
	_, user := ofUsers(t, &tsagent.Config{Policy: tsagent.AllowAll(), Others: func() []tsagent.SocketInfo { return more }})
	mine, other, root, agent := user(1001), user(1002), user(0), user(uint32(unix.Getuid()))
	a, b := mine.open(unix.AF_INET, unix.SOCK_STREAM), other.open(unix.AF_INET, unix.SOCK_STREAM)
	numbers := func(r *raw) (n []uint32) {
		for _, s := range r.snapshot().Sockets {
			n = append(n, s.Num)
		}
		return n
	}
	require.Equal(t, []uint32{a}, numbers(mine))
	require.Equal(t, []uint32{b}, numbers(other))
	for _, r := range []*raw{root, agent} {
		require.Equal(t, []uint32{a, b, 1}, numbers(r))
	}
	require.Equal(t, "rxrpc", root.snapshot().Sockets[2].Owner)
}

// Two who read at the same time get a whole snapshot each; one who was put off is told so.
func TestStatOfTwoAtOnce(t *testing.T) {
	s := onLoopback(t, nil)
	r, q := s.raw(t), s.raw(t)
	for range 200 {
		r.open(unix.AF_INET6, unix.SOCK_STREAM)
	}
	stat := func(r *raw, text []byte) []byte {
		_, b := r.must(tsagent.Header{Op: tsagent.OpStat, Arg: uint64(len(text))})
		return append(text, b...)
	}
	one := stat(r, nil)
	r.open(unix.AF_INET, unix.SOCK_DGRAM)
	two := stat(q, nil)
	for range 200 {
		r.open(unix.AF_INET, unix.SOCK_DGRAM)
	}
	for !json.Valid(one) || !json.Valid(two) {
		if !json.Valid(two) {
			two = stat(q, two)
		}
		if !json.Valid(one) {
			one = stat(r, one)
		}
	}
	var x, y tsagent.Snapshot
	require.NoError(t, json.Unmarshal(one, &x))
	require.NoError(t, json.Unmarshal(two, &y))
	require.Len(t, x.Sockets, 200)
	require.Len(t, y.Sockets, 201)

	text := stat(r, nil)
	for range 8 {
		stat(s.raw(t), nil)
	}
	r.refuse(syscall.ESTALE, tsagent.Header{Op: tsagent.OpStat, Arg: uint64(len(text))})
	all, err := s.client(t).Stat(soon(t))
	require.NoError(t, err)
	require.Len(t, all.Sockets, 401)
}

// What a port was reading goes with it.
func TestStatOfPortThatIsGone(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		holder := s.raw(t)
		for range 200 {
			holder.open(unix.AF_INET, unix.SOCK_DGRAM)
		}
		for range 3 {
			r := s.raw(t)
			value, b := r.must(tsagent.Header{Op: tsagent.OpStat})
			require.Greater(t, int(value.Value), len(b), "there is more of it")
			require.Equal(t, 1, s.agent.Reading())
			require.NoError(t, r.ep.Close())
			require.Eventually(t, func() bool { return s.agent.Reading() == 0 }, patience, time.Millisecond)
		}
		r := s.raw(t)
		r.must(tsagent.Header{Op: tsagent.OpStat}) // and the agent's end
		require.Equal(t, 1, s.agent.Reading())
	})
}

// A port that was another user's does not get the rest of what that one was reading.
func TestStatOfPortThatWasAnothers(t *testing.T) {
	s, set := asUsers(t, nil)
	r := s.raw(t)
	is := func(uid uint32) { set(r, uid) }
	is(1001)
	for range 200 {
		r.open(unix.AF_INET, unix.SOCK_DGRAM)
	}
	_, b := r.must(tsagent.Header{Op: tsagent.OpStat})
	is(1002)
	rest := tsagent.Header{Op: tsagent.OpStat, Arg: uint64(len(b))}
	r.refuse(syscall.ESTALE, rest)
	is(1001)
	r.refuse(syscall.ESTALE, rest)
	require.Len(t, r.snapshot().Sockets, 200)
}
