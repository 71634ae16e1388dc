package tsagent

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
)

// within is an agent whose handler the test calls by itself.
type within struct {
	t    *testing.T
	a    *Agent
	port uint32 // which all requests come from
}

func newWithin(t *testing.T) within {
	bus := loopback.New(nil).Open()
	a, err := New(t.Context(), bus, nil)
	require.NoError(t, err)
	ep, err := bus.Endpoint(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, a.Close())
		require.NoError(t, bus.Close())
	})
	return within{t, a, ep.Port()}
}

type completion struct {
	r     Reply
	body  []byte
	stack string // who has completed
}

type replier chan completion

func (c replier) Reply(_ context.Context, _ *connector.Delivery, data []byte) error {
	r, body, err := ParseReply(data)
	if err == nil {
		c <- completion{r, append([]byte(nil), body...), string(debug.Stack())}
	}
	return err
}

func (w within) call(h Header, body ...byte) completion {
	w.t.Helper()
	via := make(replier, 1)
	d := &connector.Delivery{Call: true, Via: via, Msg: connector.Message{ID: cbid.TSocket, Data: append(h.Append(nil), body...)}}
	d.From.Port, d.From.Cred.UID = w.port, uint32(os.Getuid())
	handler{w.a}.Handle(w.t.Context(), d)
	select {
	case c := <-via:
		return c
	case <-time.After(2 * time.Minute):
		require.FailNow(w.t, "no completion", "%v", h.Op)
	}
	panic("not reached")
}

func (w within) must(h Header, body ...byte) completion {
	w.t.Helper()
	c := w.call(h, body...)
	require.NoError(w.t, c.r.Err(c.body))
	return c
}

func (w within) open(family, kind int) uint32 {
	return w.must(Header{Op: OpOpen, Arg: uint64(family) | uint64(kind)<<16}).r.Sock
}

// What looks at the file system is not done in the handler, which may be the goroutine of the whole bus.
func TestHandlerStaysOffTheFileSystem(t *testing.T) {
	w := newWithin(t)
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	name := func(s string) []byte {
		return AppendAddr(nil, tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(dir, s))))
	}
	off := func(what string, c completion) {
		t.Helper()
		require.NoError(t, c.r.Err(c.body), what)
		require.NotContains(t, c.stack, "handler.Handle", what)
	}
	l := w.open(unix.AF_UNIX, unix.SOCK_STREAM)
	w.must(Header{Op: OpBind, Sock: l}, name("l")...)
	off("LISTEN", w.call(Header{Op: OpListen, Sock: l, Arg: 0o600 << 32}))
	s := w.open(unix.AF_UNIX, unix.SOCK_STREAM)
	off("CONNECT of a stream", w.call(Header{Op: OpConnect, Sock: s}, name("l")...))
	off("CLOSE of a listener", w.call(Header{Op: OpClose, Sock: l}))
	a, b, c := w.open(unix.AF_UNIX, unix.SOCK_DGRAM), w.open(unix.AF_UNIX, unix.SOCK_DGRAM), w.open(unix.AF_UNIX, unix.SOCK_DGRAM)
	off("BIND", w.call(Header{Op: OpBind, Sock: a}, name("a")...))
	off("CONNECT", w.call(Header{Op: OpConnect, Sock: b}, name("a")...))
	var batch BatchWriter
	batch.Add([]byte("x"), tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(dir, "a"))))
	off("SENDTO", w.call(Header{Op: OpSendTo, Sock: c}, batch.Body()...))
	off("CONNECT of one that is open", w.call(Header{Op: OpConnect, Sock: c}, name("a")...))
}

// While it is being bound a socket can be closed, and nothing is left of it; other requests are EBUSY.
func TestSocketIsClosedWhileItIsBound(t *testing.T) {
	w := newWithin(t)
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	s := w.a.find(w.open(unix.AF_UNIX, unix.SOCK_STREAM), w.port)
	s.mu.Lock()
	s.slow = &operation{op: OpListen}
	s.mu.Unlock()
	require.Equal(t, unix.EBUSY, w.call(Header{Op: OpGetName, Sock: s.num}).r.Errno)
	w.must(Header{Op: OpClose, Sock: s.num})
	path := filepath.Join(dir, "l")
	_, err = s.listenUnix(nil, tsocket.MustAddr(tsocket.UnixAddr(path)), nil)
	require.ErrorIs(t, err, unix.ECANCELED)
	_, err = os.Lstat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	d := w.a.find(w.open(unix.AF_UNIX, unix.SOCK_DGRAM), w.port)
	d.close()
	_, err = d.openUnixDgram(tsocket.MustAddr(tsocket.UnixAddr(path)), tsocket.Addr{})
	require.ErrorIs(t, err, unix.ECANCELED)
}

// Nothing is opened for a socket that is closed: nobody would close it.
func TestClosedSocketOpensNothing(t *testing.T) {
	w := newWithin(t)
	for _, family := range []int{unix.AF_INET, unix.AF_UNIX} {
		s := w.a.find(w.open(family, unix.SOCK_DGRAM), w.port)
		s.close()
		require.ErrorIs(t, s.makeDgram(), unix.ECANCELED)
		require.Nil(t, s.dgram)
	}
	s := w.a.find(w.open(unix.AF_INET, unix.SOCK_DGRAM), w.port)
	s.close()
	peer := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 9))
	require.ErrorIs(t, s.connectDgram(&request{a: w.a, s: s}, tsocket.Addr{}, peer), unix.ECANCELED)
	require.Nil(t, s.dgram)
	require.ErrorIs(t, s.charge(1), unix.ECANCELED)
}
