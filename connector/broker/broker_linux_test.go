package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// running is a broker under test.
type running struct {
	*Broker
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

func run(t *testing.T, cfg Config) *running {
	if cfg.Socket == "" && cfg.Listeners == nil {
		cfg.Socket = filepath.Join(t.TempDir(), "s")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b, err := New(&cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Broker: b, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- b.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			require.NoError(t, err)
		case <-time.After(2 * time.Minute):
			t.Error("the broker does not stop")
		}
	})
	return r
}

// rawConn is a client that knows only frames.
type rawConn struct {
	net.Conn
	t    *testing.T
	buf  []byte
	port uint32
}

func (r *running) dial() *rawConn {
	c, err := net.Dial("unix", r.path)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	return &rawConn{Conn: c, t: r.t}
}

func (r *running) client() *rawConn {
	c := r.dial()
	c.put(frame.Header{Type: frame.Hello}, frame.AppendHello(nil, "raw")...)
	c.port = c.want(frame.Welcome).Port
	return c
}

func (c *rawConn) put(h frame.Header, body ...byte) { c.bytes(h.Append(nil, body...)) }

func (c *rawConn) bytes(b []byte) {
	_, err := c.Write(b)
	require.NoError(c.t, err)
}

// next reads one frame.
func (c *rawConn) next() (got, error) {
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(2*time.Minute)))
	for {
		h, body, err := frame.Parse(c.buf)
		if err == nil {
			g := got{h, append([]byte(nil), body...)}
			c.buf = c.buf[h.Len:]
			return g, nil
		}
		if !errors.Is(err, frame.ErrShort) {
			return got{}, err
		}
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if err != nil {
			return got{}, err
		}
		c.buf = append(c.buf, b[:n]...)
	}
}

func (c *rawConn) want(t frame.Type) got {
	c.t.Helper()
	g, err := c.next()
	require.NoError(c.t, err)
	require.Equal(c.t, t, g.Type, "%s", g.body)
	return g
}

// ended reads until the connection ends.
func (c *rawConn) ended() {
	c.t.Helper()
	_, err := c.next()
	require.Error(c.t, err)
	require.False(c.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection should have ended")
}

// eventually asks the broker until ok says yes, at most 10 s.
func (r *running) eventually(what string, ok func(StatRow) bool) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		s, err := r.Stat(context.Background())
		require.NoError(r.t, err)
		return ok(s)
	}, 2*time.Minute, 5*time.Millisecond, what)
}

func TestBrokerCarriesMessagesWithKernelCredentials(t *testing.T) {
	b := run(t, Config{})
	agent, user := b.client(), b.client()
	agent.put(frame.Header{Type: frame.Add, Tag: 1}, frame.AppendNamed(nil, id1, "x")...)
	require.Zero(t, agent.want(frame.Ack).Code)
	agent.want(frame.Interest)
	user.bytes(msg(frame.Header{UID: 99999, PID: 1, Flags: frame.FlagAck}, id1, 1, 2, "hello"))
	g := agent.want(frame.Msg)
	assert.Equal(t, []uint32{uint32(os.Geteuid()), uint32(os.Getegid()), uint32(os.Getpid())}, []uint32{g.UID, g.GID, g.PID})
	assert.Equal(t, user.port, g.Port)
	assert.Equal(t, "hello", g.data())
	user.want(frame.Ack)
}

func TestSecondBrokerIsRefusedAndStaleSocketReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	b := run(t, Config{Socket: path})
	_, err := New(&Config{Socket: path})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.Contains(t, err.Error(), "another broker (pid ")
	b.stop()
	require.NoError(t, <-b.done)
	b.done <- nil
	_, err = os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist, "a broker that stops takes its socket away")

	// What a killed broker leaves: a socket nobody serves.
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	run(t, Config{Socket: path}).client()

	other := filepath.Join(t.TempDir(), "o")
	l, err = net.Listen("unix", other)
	require.NoError(t, err)
	defer l.Close()
	_, err = New(&Config{Socket: other})
	require.ErrorIs(t, err, syscall.EADDRINUSE, "another program's socket is left alone")
	file := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = New(&Config{Socket: file})
	require.ErrorIs(t, err, syscall.EADDRINUSE, "a file is left alone")
}

func TestHalfAFrameThenSilenceHarmsNobody(t *testing.T) {
	b := run(t, Config{})
	silent := b.client()
	silent.bytes(msg(frame.Header{}, id1, 1, 2, "data")[:50])
	c := b.client()
	c.put(frame.Header{Type: frame.Ping, Tag: 7})
	assert.Equal(t, uint32(7), c.want(frame.Ack).Tag)
	silent.bytes(msg(frame.Header{}, id1, 1, 2, "data")[50:])
	assert.Equal(t, connector.ErrNoID.Code(), silent.want(frame.Fail).Code)
}

func TestClientThatSaysNothingIsSentAway(t *testing.T) {
	b := run(t, Config{})
	require.NoError(t, b.loop.do(context.Background(), func() { b.loop.hub.tune.hello = 20e6 }))
	silent := b.dial()
	g := silent.want(frame.Bye)
	assert.Equal(t, connector.ErrTimeout.Code(), g.Code)
	silent.ended()
	b.eventually("it is gone", func(s StatRow) bool { return s.Clients == 0 })
}

func TestBrokerStopsGracefully(t *testing.T) {
	b := run(t, Config{Drain: 2 * time.Minute}) // all has left long before
	agent, user := b.client(), b.client()
	agent.put(frame.Header{Type: frame.Add, Tag: 1}, frame.AppendNamed(nil, id1, "x")...)
	agent.want(frame.Ack)
	agent.want(frame.Interest)
	// What was sent before the stop arrives before the good-bye.
	var burst []byte
	for range 1000 {
		burst = append(burst, msg(frame.Header{}, id1, 1, 2, strings.Repeat("x", 100))...)
	}
	user.bytes(burst)
	b.stop()
	n := 0
	for {
		g, err := agent.next()
		require.NoError(t, err)
		if g.Type == frame.Bye {
			assert.Equal(t, connector.ErrShutdown.Code(), g.Code)
			break
		}
		require.Equal(t, frame.Msg, g.Type)
		n++
	}
	assert.Equal(t, 1000, n)
	agent.ended()
	require.Equal(t, frame.Bye, user.want(frame.Bye).Type)
	require.NoError(t, <-b.done)
	b.done <- nil
}

func TestStopDoesNotWaitForAClientThatNeverReads(t *testing.T) {
	b := run(t, Config{Drain: 50 * time.Millisecond})
	stuck, user := b.client(), b.client()
	stuck.put(frame.Header{Type: frame.Join, Group: 3})
	stuck.want(frame.Ack)
	for range 1000 {
		user.bytes(msg(frame.Header{Group: 3}, id1, 1, 2, strings.Repeat("x", 1000)))
	}
	b.stop()
	require.NoError(t, <-b.done)
	b.done <- nil
}

func TestClientThatNeverReadsHarmsOnlyItself(t *testing.T) {
	b := run(t, Config{QueueBytes: 64 << 10})
	stuck, reader, pub := b.client(), b.client(), b.client()
	for _, c := range []*rawConn{stuck, reader} {
		c.put(frame.Header{Type: frame.Join, Group: 3})
		c.want(frame.Ack)
	}
	const n = 20000
	published := make(chan error, 1)
	go func() {
		var err error
		for i := uint32(0); i < n && err == nil; i++ {
			_, err = pub.Write(msg(frame.Header{Group: 3}, id1, i+1, 0, strings.Repeat("x", 200)))
		}
		published <- err
	}()
	total := func(c *rawConn) (msgs int) {
		for seen := uint32(0); seen < n; {
			g, err := c.next()
			require.NoError(t, err)
			if g.Type == frame.Lost {
				seen += uint32(g.Pos)
				continue
			}
			require.Equal(t, seen+1, native.Uint32(g.body[24:]), "the losses are where they were")
			seen++
			msgs++
		}
		return msgs
	}
	total(reader)
	require.NoError(t, <-published)
	assert.Less(t, total(stuck), n, "the test must have filled its queue")
}

// A client that was paused has more kept than a read leaves room for; that it is gone may be
// told after it was let go on and before that is handled.
func TestClientGoneBeforeWhatItSentIsHandled(t *testing.T) {
	b := run(t, Config{})
	c := b.client()
	require.NoError(t, b.loop.do(context.Background(), func() {
		for _, k := range b.loop.hub.conns {
			kept := make([]byte, carryMax+readMax)
			k.in = kept
			assert.Zero(t, b.loop.read(k, true))
			assert.Len(t, k.in, len(kept))
			k.in = nil
		}
	}))
	c.put(frame.Header{Type: frame.Ping, Tag: 7})
	assert.Equal(t, uint32(7), c.want(frame.Ack).Tag)
}

func TestPolicyReloadKeepsConnections(t *testing.T) {
	b := run(t, Config{Policy: UserPolicy()})
	c := b.client()
	strict, err := ParsePolicy("[[rule]]\nuid = [\"self\", 0]\nsend = [\"0x200:*\"]\n")
	require.NoError(t, err)
	require.NoError(t, b.Reload(context.Background(), strict))
	c.bytes(msg(frame.Header{Flags: frame.FlagAck, Tag: 1}, id1, 1, 2, ""))
	assert.Equal(t, connector.ErrPermission.Code(), c.want(frame.Ack).Code)
	c.bytes(msg(frame.Header{Flags: frame.FlagAck, Tag: 1}, cbid.Make(0x200, 9), 1, 2, ""))
	assert.Equal(t, connector.ErrNoID.Code(), c.want(frame.Ack).Code)
	none, err := ParsePolicy("[[rule]]\nuid = [4242]\n")
	require.NoError(t, err)
	require.NoError(t, b.Reload(context.Background(), none))
	assert.Equal(t, connector.ErrPermission.Code(), c.want(frame.Bye).Code)
	refused := b.dial()
	assert.Contains(t, string(refused.want(frame.Bye).body), "may not connect")
}

func TestDescriptorsOfSystemdAreServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	f, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	b := run(t, Config{Listeners: []*os.File{f}})
	b.path = path
	b.client()
	b.stop()
	require.NoError(t, <-b.done)
	b.done <- nil
	_, err = os.Lstat(path)
	assert.NoError(t, err, "the socket is systemd's: it stays")
	l.Close()

	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	defer r.Close()
	_, err = New(&Config{Listeners: []*os.File{r}})
	require.Error(t, err)
}

func TestConnectionFromInsideTheProcess(t *testing.T) {
	b := run(t, Config{})
	nc, err := b.Conn(context.Background())
	require.NoError(t, err)
	defer nc.Close()
	c := &rawConn{Conn: nc, t: t}
	c.put(frame.Header{Type: frame.Hello}, frame.AppendHello(nil, "inside")...)
	c.want(frame.Welcome)
	c.put(frame.Header{Type: frame.Query, Tag: 3}, []byte("conns")...)
	g := c.want(frame.Data)
	assert.Contains(t, string(g.body), `"name":"inside"`)
}

func TestNothingIsLeftOfClientsThatDie(t *testing.T) {
	b := run(t, Config{})
	fds := func() int {
		d, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(d)
	}
	before := fds()
	for i := range 300 {
		c := b.client()
		c.put(frame.Header{Type: frame.Add}, frame.AppendNamed(nil, cbid.Make(7, uint32(i)), "dies")...)
		c.put(frame.Header{Type: frame.Join, Group: uint32(i%5) + 1})
		c.put(frame.Header{Type: frame.Watch, Tag: 4})
		c.bytes(msg(frame.Header{Group: 1}, id1, 1, 2, "x")[:i%78])
		if i%3 == 0 {
			_, _ = io.CopyN(io.Discard, c, 1)
		}
		require.NoError(t, c.Close())
	}
	b.eventually("all are gone", func(s StatRow) bool {
		return s.Clients == 0 && s.IDs == 0 && s.Groups == 0 && len(s.Users) == 0
	})
	assert.Eventually(t, func() bool { return fds() <= before }, 2*time.Minute, time.Millisecond)
}
