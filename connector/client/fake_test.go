package client

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/internal/testenv"
)

var (
	bg  = context.Background()
	id1 = cbid.Make(0x1001, 1)
	id2 = cbid.Make(0x1001, 2)
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// fake is a broker that does what the test says, frame by frame.
type fake struct {
	t    *testing.T
	l    net.Listener
	path string
}

// peer is the fake's side of one connection.
type peer struct {
	t    *testing.T
	c    net.Conn
	port uint32
	b    [frame.MaxLen]byte
}

func newFake(t *testing.T) *fake {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { testenv.NoLeaks(t, leaks) })
	dir, err := os.MkdirTemp("", "cn") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fake{t: t, path: filepath.Join(dir, "s")}
	f.l, err = net.Listen("unix", f.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.l.Close() })
	return f
}

func (f *fake) config() *Config {
	return &Config{
		Socket: f.path, Name: "test", Logger: slog.New(slog.DiscardHandler), Linger: -1, DialTimeout: patience,
		Reconnect: Reconnect{Min: time.Millisecond, Max: time.Millisecond},
	}
}

// accept takes the next connection, without a greeting.
func (f *fake) accept() *peer {
	f.t.Helper()
	_ = f.l.(*net.UnixListener).SetDeadline(time.Now().Add(patience))
	c, err := f.l.Accept()
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{t: f.t, c: c}
}

// welcome takes the next connection and greets it.
func (f *fake) welcome(port uint32) *peer {
	f.t.Helper()
	p := f.accept()
	h, body := p.next()
	require.Equal(f.t, frame.Hello, h.Type)
	name, err := frame.ParseHello(body)
	require.NoError(f.t, err)
	assert.Equal(f.t, "test", name)
	p.port = port
	p.send(frame.Header{Type: frame.Welcome, Port: port, Pos: 77})
	return p
}

// dial makes a Bus whose agent side has port 1.
func (f *fake) dial(cfg *Config) (*Bus, *peer) {
	f.t.Helper()
	var p *peer
	done := make(chan struct{})
	go func() {
		defer close(done)
		p = f.welcome(1)
	}()
	b, err := Dial(bg, cfg)
	<-done
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, b.Close()) })
	return b, p
}

// endpoint opens an endpoint with port 2.
func (f *fake) endpoint(b *Bus) (*Endpoint, *peer) {
	f.t.Helper()
	var p *peer
	done := make(chan struct{})
	go func() {
		defer close(done)
		p = f.welcome(2)
	}()
	e, err := b.OpenEndpoint(bg)
	<-done
	require.NoError(f.t, err)
	return e, p
}

// start is dial and endpoint.
func start(t *testing.T) (*fake, *Endpoint, *peer) {
	t.Helper()
	f := newFake(t)
	b, _ := f.dial(f.config())
	e, p := f.endpoint(b)
	return f, e, p
}

// next reads a frame.
func (p *peer) next() (frame.Header, []byte) {
	p.t.Helper()
	h, body, err := p.read()
	require.NoError(p.t, err)
	return h, body
}

func (p *peer) read() (h frame.Header, body []byte, err error) {
	if _, err = io.ReadFull(p.c, p.b[:4]); err != nil {
		return h, nil, err
	}
	n := binary.NativeEndian.Uint32(p.b[:])
	if n < 4 || int(n) > len(p.b) {
		return h, nil, frame.ErrLength
	}
	if _, err = io.ReadFull(p.c, p.b[4:n]); err != nil {
		return h, nil, err
	}
	return frame.Parse(p.b[:n])
}

// want reads a frame, which must be of that type. What asks how far the broker is is answered.
func (p *peer) want(t frame.Type) (frame.Header, []byte) {
	p.t.Helper()
	h, body := p.next()
	for h.Type == frame.Ping && h.Tag == askTag {
		p.ack(h)
		h, body = p.next()
	}
	require.Equal(p.t, t, h.Type, "frame type")
	return h, body
}

// swallow reads to the end, and says how far it is when asked.
func (p *peer) swallow() {
	for {
		h, _, err := p.read()
		if err != nil {
			return
		}
		if h.Type == frame.Ping {
			if _, err = p.c.Write(frame.Header{Type: frame.Ack, Tag: h.Tag}.Append(nil)); err != nil {
				return
			}
		}
	}
}

// wantSend reads a Send and its message.
func (p *peer) wantSend() (frame.Header, connector.Message) {
	p.t.Helper()
	h, body := p.want(frame.Send)
	m, err := connector.ParseExact(body)
	require.NoError(p.t, err)
	return h, m
}

// wantEnd reads the end of the connection.
func (p *peer) wantEnd() {
	p.t.Helper()
	_, _, err := p.read()
	require.Error(p.t, err)
	require.NotErrorIs(p.t, err, os.ErrDeadlineExceeded, "the connection did not end")
}

func (p *peer) send(h frame.Header, body ...byte) {
	p.t.Helper()
	_, err := p.c.Write(h.Append(nil, body...))
	require.NoError(p.t, err)
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	_, err := p.c.Write(b)
	require.NoError(p.t, err)
}

// ack answers the request h.
func (p *peer) ack(h frame.Header, body ...byte) {
	p.t.Helper()
	p.send(frame.Header{Type: frame.Ack, Tag: h.Tag, Pos: h.Pos}, body...)
}

// refuse answers the request h with an error.
func (p *peer) refuse(h frame.Header, err *connector.Error) {
	p.t.Helper()
	p.send(frame.Header{Type: frame.Ack, Tag: h.Tag, Code: err.Code()}, []byte("because")...)
}

// joined answers Join.
func (p *peer) joined(h frame.Header, pos, epoch uint64) {
	p.t.Helper()
	p.send(frame.Header{Type: frame.Ack, Tag: h.Tag, Pos: pos, Group: h.Group}, frame.AppendU64s(nil, epoch)...)
}

func text(id cbid.ID, s string) connector.Message { return connector.Message{ID: id, Data: []byte(s)} }

// msg is a Msg frame as the broker sends it.
func msg(h frame.Header, m connector.Message) []byte {
	h.Type = frame.Msg
	if h.Port == 0 {
		h.Port = 9
	}
	body, err := m.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return h.Append(nil, body...)
}

// reply is the Msg frame that answers m.
func reply(m connector.Message, s string) []byte {
	return msg(frame.Header{Flags: frame.FlagReply}, connector.Message{ID: m.ID, Seq: m.Seq, Ack: m.Ack + 1, Data: []byte(s)})
}

// within is a context that ends when a test has waited too long.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// run runs f in a goroutine; wait for its result by get.
func run[T any](f func() T) <-chan T {
	c := make(chan T, 1)
	go func() { c <- f() }()
	return c
}

func get[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		require.Fail(t, "waited too long")
		panic("not reached")
	}
}

// recv receives an event that must be there.
func recv(t *testing.T, e *Endpoint) connector.Event {
	t.Helper()
	ev, err := e.Recv(within(t))
	require.NoError(t, err)
	return ev
}

// recvText receives a message.
func recvText(t *testing.T, e *Endpoint) string {
	t.Helper()
	ev := recv(t, e)
	require.Equal(t, connector.EventMessage, ev.Kind)
	return string(ev.Msg.Data)
}
