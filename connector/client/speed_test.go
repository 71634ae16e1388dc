package client_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// endless is a broker that always has another message, and takes everything.
// What is measured with it is this package alone.
type endless struct {
	welcome []byte
	batch   []byte
	off     int
	stop    chan struct{}
}

func newEndless() *endless {
	m := connector.Message{ID: cbid.Make(1, 2), Data: make([]byte, 128)}
	body, err := m.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	e := &endless{stop: make(chan struct{})}
	e.welcome = frame.Header{Type: frame.Welcome, Port: 5, Pos: 1}.Append(nil)
	for range 300 {
		e.batch = frame.Header{Type: frame.Msg, Port: 9, Group: 3}.Append(e.batch, body...)
	}
	return e
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.welcome) > 0 {
		n := copy(b, e.welcome)
		e.welcome = e.welcome[n:]
		return n, nil
	}
	select {
	case <-e.stop:
		return 0, io.EOF
	default:
	}
	n := copy(b, e.batch[e.off:])
	e.off = (e.off + n) % len(e.batch)
	return n, nil
}

func (e *endless) Write(b []byte) (int, error)      { return len(b), nil }
func (e *endless) Close() error                     { close(e.stop); return nil }
func (e *endless) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (e *endless) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (e *endless) SetDeadline(time.Time) error      { return nil }
func (e *endless) SetReadDeadline(time.Time) error  { return nil }
func (e *endless) SetWriteDeadline(time.Time) error { return nil }

// dialEndless returns an endpoint on such a connection; the agent side of its Bus has a
// quiet one.
func dialEndless(tb testing.TB) connector.Endpoint {
	first := true
	bus, err := client.Dial(context.Background(), &client.Config{
		Reconnect: client.Reconnect{Disabled: true},
		Conn: func(context.Context) (net.Conn, error) {
			if first {
				first = false
				ours, theirs := net.Pipe()
				go func() {
					b := make([]byte, 100)
					_, _ = theirs.Read(b)
					_, _ = theirs.Write(frame.Header{Type: frame.Welcome, Port: 4, Pos: 1}.Append(nil))
					_, _ = io.Copy(io.Discard, theirs)
					_ = theirs.Close()
				}()
				return ours, nil
			}
			return newEndless(), nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = bus.Close() })
	ep, err := bus.Endpoint(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return ep
}

func BenchmarkRecv(b *testing.B) {
	ep := dialEndless(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if ev, err := ep.Recv(ctx); err != nil || ev.Kind != connector.EventMessage {
			b.Fatal(ev, err)
		}
	}
}

// cpu is the time that this process has spent computing.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU says how much of it each turn of a benchmark took: with the other end
// on another processor the time that passes says little.
func reportCPU(b *testing.B) func() {
	start := cpu(b)
	return func() { b.ReportMetric(float64(cpu(b)-start)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkCall calls somebody who answers at once, in the same process.
func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	bus, err := client.Dial(ctx, &client.Config{Socket: l.Addr().String(), Reconnect: client.Reconnect{Disabled: true}})
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		b.Fatal(err)
	}
	m := connector.Message{ID: cbid.Make(1, 2), Data: make([]byte, 64)}
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if _, err := ep.Call(ctx, m, connector.Dest{Port: 9}); err != nil {
			b.Fatal(err)
		}
	}
}

// answerAll is a broker whose agent 9 sends back what it gets.
func answerAll(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 64<<10)
	_, err := c.Read(buf)
	_, _ = c.Write(frame.Header{Type: frame.Welcome, Port: 4, Pos: 1}.Append(nil))
	for err == nil {
		var n int
		if n, err = c.Read(buf); err != nil {
			return
		}
		_, body, ferr := frame.Parse(buf[:n])
		m, merr := connector.ParseExact(body)
		if ferr != nil || merr != nil {
			return
		}
		m.Ack++
		reply, _ := m.AppendNative(nil, 4)
		_, err = c.Write(frame.Header{Type: frame.Msg, Port: 9, Flags: frame.FlagReply}.Append(nil, reply...))
	}
}

// BenchmarkRecvSocket receives from a socket whose other end has always more.
func BenchmarkRecvSocket(b *testing.B) {
	l, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				e := newEndless()
				_, err := c.Read(make([]byte, 100))
				for first := e.welcome; err == nil; first = e.batch {
					_, err = c.Write(first)
				}
			}()
		}
	}()
	ctx := context.Background()
	bus, err := client.Dial(ctx, &client.Config{Socket: l.Addr().String(), Reconnect: client.Reconnect{Disabled: true}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if ev, err := ep.Recv(ctx); err != nil || ev.Kind != connector.EventMessage {
			b.Fatal(ev, err)
		}
	}
}

// BenchmarkPost posts to a socket whose other end throws everything away.
func BenchmarkPost(b *testing.B) {
	l, err := net.Listen("unix", b.TempDir()+"/s")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 256<<10)
				_, _ = c.Read(buf)
				_, _ = c.Write(frame.Header{Type: frame.Welcome, Port: 4, Pos: 1}.Append(nil))
				for err == nil {
					_, err = c.Read(buf)
				}
				_ = c.Close()
			}()
		}
	}()
	ctx := context.Background()
	bus, err := client.Dial(ctx, &client.Config{Socket: l.Addr().String(), Reconnect: client.Reconnect{Disabled: true}})
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		b.Fatal(err)
	}
	m := connector.Message{ID: cbid.Make(1, 2), Data: make([]byte, 128)}
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if err := ep.Post(ctx, m, connector.Dest{Port: 9}); err != nil {
			b.Fatal(err)
		}
	}
}
