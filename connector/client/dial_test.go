package client

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func TestDialSaysWhyTheBrokerRefuses(t *testing.T) {
	welcome := frame.Header{Type: frame.Welcome, Port: 5}.Append(nil)
	for _, c := range []struct {
		name  string
		bytes []byte
		err   error
		text  string
	}{
		{"bye", frame.Header{Type: frame.Bye, Code: connector.ErrLimit.Code()}.Append(nil, []byte("too many of you")...), connector.ErrLimit, "too many of you"},
		{"long bye", frame.Header{Type: frame.Bye, Code: 7}.Append(nil, []byte(strings.Repeat("no ", 1000))...), connector.ErrPermission, "no no"},
		{"bye without a code", frame.Header{Type: frame.Bye}.Append(nil), connector.ErrShutdown, ""},
		{"other frame first", frame.Header{Type: frame.Ack}.Append(nil), connector.ErrProtocol, "instead of Welcome"},
		{"no port", frame.Header{Type: frame.Welcome}.Append(nil), connector.ErrProtocol, "without a port"},
		{"half a frame", welcome[:20], io.ErrUnexpectedEOF, "end of stream"},
		{"short length", append([]byte{39, 0, 0, 0}, make([]byte, 36)...), connector.ErrProtocol, "length"},
		{"long length", append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 36)...), connector.ErrProtocol, "length"},
		{"half a body", frame.Header{Type: frame.Bye}.Append(nil, make([]byte, 50)...)[:60], io.ErrUnexpectedEOF, "end of stream"},
		{"nothing", nil, io.EOF, "end of stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			dialled := run(func() error { _, err := Dial(within(t), f.config()); return err })
			p := f.accept()
			p.want(frame.Hello)
			p.raw(c.bytes)
			require.NoError(t, p.c.Close())
			err := get(t, dialled)
			var op *connector.OpError
			require.ErrorAs(t, err, &op)
			assert.Equal(t, "dial", op.Op)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
			assert.ErrorContains(t, err, c.text)
		})
	}
}

func TestDialFindsABye(t *testing.T) {
	// The broker says Bye and closes before it reads: the Hello fails, the Bye counts.
	f := newFake(t)
	cfg := f.config()
	cfg.Conn = func(ctx context.Context) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", f.path)
		if err == nil {
			p := f.accept()
			p.send(frame.Header{Type: frame.Bye, Code: connector.ErrLimit.Code()}, []byte("full")...)
			_ = p.c.Close()
		}
		return c, err
	}
	_, err := Dial(within(t), cfg)
	require.ErrorIs(t, err, connector.ErrLimit)
}

func TestDialEndsWithItsContext(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(bg)
	dialled := run(func() error { _, err := Dial(ctx, f.config()); return err })
	p := f.accept()
	p.want(frame.Hello) // and no answer
	cancel()
	require.ErrorIs(t, get(t, dialled), context.Canceled)
	p.wantEnd()
}

func TestDialTimesOut(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.DialTimeout = 1
	_, err := Dial(bg, cfg)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.Timeout(), "%v", err)
}

func TestDialWithoutABroker(t *testing.T) {
	_, err := Dial(bg, &Config{Socket: "/nonexistent/sock"})
	require.ErrorIs(t, err, syscall.ENOENT)
	t.Setenv("CNBUS_SOCKET", "/nonexistent/sock")
	_, err = Dial(bg, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "cnbus serve")
	_, err = Dial(bg, &Config{Name: strings.Repeat("x", 32)})
	require.ErrorIs(t, err, connector.ErrInvalid)
	broken := errors.New("broken")
	_, err = Dial(bg, &Config{Conn: func(context.Context) (net.Conn, error) { return nil, broken }})
	require.ErrorIs(t, err, broken)
}
