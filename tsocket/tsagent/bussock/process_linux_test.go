package bussock_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// What this process is started as besides, with the path of the broker's socket and an address.
const (
	roleEnv   = "BUSSOCK_TEST_ROLE"
	brokerEnv = "BUSSOCK_TEST_BROKER"
	atEnv     = "BUSSOCK_TEST_AT"
)

// roles run until their process is killed. They say on standard output when they are ready.
var roles = map[string]func(ctx context.Context) error{
	"broker":  brokerRole,
	"echo":    echoRole,
	"deaf":    deafRole,
	"streams": streamsRole,
	"dgrams":  dgramsRole,
}

func init() {
	child = func() bool {
		role, ok := roles[os.Getenv(roleEnv)]
		if ok {
			if err := role(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		return ok
	}
}

// process is another process in one of the roles. It ends with the test at the latest.
type process struct{ cmd *exec.Cmd }

func launch(t testing.TB, role, brokerAt, at string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, brokerEnv+"="+brokerAt, atEnv+"="+at, "GORACE=halt_on_error=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return p
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func ready() { fmt.Println("ready") }

func brokerRole(ctx context.Context) error {
	b, err := broker.New(&broker.Config{Socket: os.Getenv(brokerEnv), HistoryDir: "-", Drain: time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ready()
	return b.Serve(ctx)
}

// openNode is the node of a role.
func openNode(ctx context.Context) (*bussock.Node, error) {
	b, err := client.Dial(ctx, &client.Config{Socket: os.Getenv(brokerEnv), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return bussock.New(ctx, b, nil)
}

// each accepts streams for ever.
func each(ctx context.Context, serve func(s *tsocket.Stream)) error {
	n, err := openNode(ctx)
	if err != nil {
		return err
	}
	l, err := n.Listen(ctx, listenID, nil)
	if err != nil {
		return err
	}
	ready()
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go serve(s)
	}
}

func echoRole(ctx context.Context) error {
	return each(ctx, func(s *tsocket.Stream) {
		c := tsocket.AsNetConn(s)
		_, _ = io.Copy(c, c)
		_ = c.Close()
	})
}

// deafRole never reads.
func deafRole(ctx context.Context) error { return each(ctx, func(*tsocket.Stream) {}) }

// streamsRole gives each stream that it accepts, or makes, a unix socket at whose other end somebody is: what happens to the
// one is done to the other. It accepts from the bus and connects to the unix socket AT, and it accepts from the unix socket AT.d and
// connects to the id above listenID.
func streamsRole(ctx context.Context) error {
	n, err := openNode(ctx)
	if err != nil {
		return err
	}
	at, err := tsocket.UnixAddr(os.Getenv(atEnv))
	if err != nil {
		return err
	}
	l, err := n.Listen(ctx, listenID, nil)
	if err != nil {
		return err
	}
	back, err := tsocket.UnixAddr(os.Getenv(atEnv) + ".d")
	if err != nil {
		return err
	}
	ul, err := tsocket.ListenUnix(back, nil)
	if err != nil {
		return err
	}
	ready()
	failed := make(chan error, 2)
	go func() {
		for {
			s, err := l.Accept(ctx)
			if err != nil {
				failed <- err
				return
			}
			u, err := tsocket.DialUnix(ctx, tsocket.Addr{}, at)
			if err != nil {
				_ = s.Close()
				continue
			}
			go mirror(s, u)
		}
	}()
	go func() {
		for {
			u, err := ul.Accept(ctx)
			if err != nil {
				failed <- err
				return
			}
			s, err := n.Dial(ctx, dialedID)
			if err != nil {
				_ = u.Close()
				continue
			}
			go mirror(u, s)
		}
	}()
	return <-failed
}

// mirror joins two streams: data, ends of directions, and that the connection is broken.
func mirror(a, b *tsocket.Stream) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	for _, way := range [][2]*tsocket.Stream{{a, b}, {b, a}} {
		way[0].SetHalfOpen(true)
		go func() {
			defer func() { done <- struct{}{} }()
			from, to := way[0], way[1]
			buf := make([]byte, 32<<10)
			for {
				n, err := from.ReadSome(ctx, buf)
				if err != nil {
					if errors.Is(err, io.EOF) {
						_ = to.CloseWrite(ctx)
					} else {
						cancel()
					}
					break
				}
				if _, err := to.Writev(ctx, buf[:n]); err != nil {
					cancel()
					break
				}
			}
			// The other direction may go on; but not when this end is gone altogether.
			if err := from.Monitor(ctx); errors.Is(err, syscall.EPIPE) {
				cancel()
			}
		}()
	}
	<-done
	<-done
	cancel()
	_, _ = a.Close(), b.Close()
}

// dgramsRole gives each stream that it accepts at the unix socket AT a datagram socket: its address first, then PDUs of an address and a
// datagram, in both directions.
func dgramsRole(ctx context.Context) error {
	n, err := openNode(ctx)
	if err != nil {
		return err
	}
	at, err := tsocket.UnixAddr(os.Getenv(atEnv))
	if err != nil {
		return err
	}
	l, err := tsocket.ListenUnix(at, nil)
	if err != nil {
		return err
	}
	ready()
	for {
		u, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		d, err := n.Dgram(nil)
		if err != nil {
			return err
		}
		far := newFarDgram(u)
		if err := far.SendTo(ctx, []byte("me"), d.LocalAddr()); err != nil {
			return err
		}
		go func() {
			for {
				b, to, err := far.RecvFrom(ctx, nil)
				if err != nil {
					break
				}
				_, _ = d.SendTo(ctx, b, to)
			}
			_ = d.Close()
		}()
		go func() {
			buf := make([]byte, bussock.MaxDgram)
			for {
				k, src, err := d.RecvFrom(ctx, buf)
				if err != nil {
					break
				}
				if far.SendTo(ctx, buf[:k], src) != nil {
					break
				}
			}
			_ = u.Close()
		}()
	}
}

// farDgram is a datagram socket in another process: the ops of a tsocket.Dgram.
type farDgram struct {
	u     *tsocket.Stream
	r     *tsocket.PDUReader
	local tsocket.Addr
}

func newFarDgram(u *tsocket.Stream) *farDgram {
	return &farDgram{u: u, r: tsocket.NewPDUReader(u, tsocket.U32Size, 1<<16)}
}

func (f *farDgram) RecvFrom(ctx context.Context, _ []byte) ([]byte, tsocket.Addr, error) {
	pdu, err := f.r.Next(ctx)
	if err != nil {
		return nil, tsocket.Addr{}, tsocket.Cause(err)
	}
	var ap netip.AddrPort
	if err := ap.UnmarshalBinary(pdu[4:22]); err != nil {
		return nil, tsocket.Addr{}, err
	}
	src, err := tsocket.AddrFrom(ap)
	return pdu[22:], src, err
}

func (f *farDgram) SendTo(ctx context.Context, b []byte, dst tsocket.Addr) error {
	addr, err := dst.AddrPort().MarshalBinary()
	if err != nil {
		return err
	}
	head := append(binary.BigEndian.AppendUint32(nil, uint32(len(addr)+len(b))), addr...)
	_, err = f.u.Writev(ctx, head, b)
	return tsocket.Cause(err)
}

func (f *farDgram) LocalAddr() tsocket.Addr          { return f.local }
func (f *farDgram) RemoteAddr() tsocket.Addr         { return tsocket.Addr{} }
func (f *farDgram) Disconnect(context.Context) error { return f.Close() }
func (f *farDgram) Close() error                     { return f.u.Close() }
