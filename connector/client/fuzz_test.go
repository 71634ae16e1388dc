package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// seeds are what a broker may send, and less.
func seeds() [][]byte {
	m := connector.Message{ID: id1, Seq: 1, Ack: 2, Data: []byte("data")}
	all := [][]byte{
		msg(frame.Header{}, m), toID(m), asked(m), msg(frame.Header{Group: 5, Pos: 7}, m),
		frame.Header{Type: frame.Ack, Tag: 1}.Append(nil),
		frame.Header{Type: frame.Ack, Tag: 1, Code: 3}.Append(nil, []byte("text")...),
		frame.Header{Type: frame.Ack, Tag: 1}.Append(nil, make([]byte, 8)...),
		frame.Header{Type: frame.Lost, Pos: 3}.Append(nil),
		frame.Header{Type: frame.Stop, Port: 3}.Append(nil),
		frame.Header{Type: frame.Go}.Append(nil, frame.AppendID(nil, id1)...),
		frame.Header{Type: frame.Gone, Port: 3}.Append(nil, frame.AppendID(nil, id1)...),
		frame.Header{Type: frame.Interest, Group: id1.Idx, Code: 1}.Append(nil),
		frame.Header{Type: frame.Fail, Code: 3}.Append(nil, msg(frame.Header{}, connector.Message{})[frame.HeaderLen:]...),
		frame.Header{Type: frame.Bye, Code: 16}.Append(nil, []byte("bye")...),
		frame.Header{Type: frame.Data, Tag: 1}.Append(nil, []byte("{}")...),
		change(connector.ChangeAdded, id1),
		frame.Header{Type: frame.Mon}.Append(nil, msg(frame.Header{}, m)[frame.HeaderLen:]...),
		{1, 2, 3, 4},
		{39, 0, 0, 0},
		nil,
	}
	return append(all, bytes.Join(all[:13], nil))
}

// FuzzReadBuf compares the frames that come out of reads of any size with
// those of one parse over all.
func FuzzReadBuf(f *testing.F) {
	for i, s := range seeds() {
		f.Add(s, uint16(i*7+1), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint16, lend bool) {
		var q readBuf
		rest, want := in, in
		for {
			h, body, ok, err := q.next()
			wh, wbody, werr := frame.Parse(want)
			switch {
			case ok:
				require.NoError(t, werr)
				require.Equal(t, wh, h)
				require.Equal(t, wbody, body)
				want = want[wh.Len:]
				if lend {
					q.giveBack()
					q.lend()
					kept := bytes.Clone(body)
					n := copy(q.room(), rest[:min(len(rest), int(step))])
					q.filled(n)
					rest = rest[n:]
					require.Equal(t, kept, body, "lent bytes changed")
				}
				continue
			case err != nil:
				require.ErrorIs(t, err, connector.ErrProtocol)
				require.ErrorIs(t, werr, frame.ErrLength)
				return
			case len(rest) == 0:
				require.ErrorIs(t, werr, frame.ErrShort)
				return
			}
			n := copy(q.room(), rest[:min(len(rest), int(step)+1)])
			require.NotZero(t, n)
			q.filled(n)
			rest = rest[n:]
			require.LessOrEqual(t, len(q.b), readMax)
		}
	})
}

// script is a connection to a broker that greets, sends those bytes, and ends.
func script(in []byte) net.Conn {
	c, s := net.Pipe()
	go func() {
		defer s.Close()
		var hello [frame.HeaderLen + 8 + 4]byte
		if _, err := io.ReadFull(s, hello[:]); err != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, s) }()
		_, _ = s.Write(frame.Header{Type: frame.Welcome, Port: 2}.Append(nil))
		_, _ = s.Write(in)
	}()
	return c
}

// FuzzBroker lets every kind of connection read anything: they end, with an
// error, and nothing else happens.
func FuzzBroker(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		down := make(chan error, 1)
		dials := 0
		cfg := &Config{
			Name: "fuzz", Linger: -1, Logger: slog.New(slog.DiscardHandler), Reconnect: Reconnect{Disabled: true},
			Conn: func(context.Context) (net.Conn, error) { dials++; return script(in), nil },
			OnEvent: func(ev connector.Event) {
				if ev.Kind == connector.EventDown {
					down <- ev.Err
				}
			},
		}
		b, err := Dial(ctx, cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		select {
		case err := <-down:
			require.ErrorIs(t, err, connector.ErrInterrupted)
		case <-ctx.Done():
			require.Fail(t, "the agent side did not end")
		}
		e, err := b.OpenEndpoint(ctx)
		require.NoError(t, err)
		called := make(chan error, 1)
		go func() { _, err := e.Call(ctx, text(id1, ""), connector.Dest{}); called <- err }()
		for {
			ev, err := e.Recv(ctx)
			if err != nil {
				require.ErrorIs(t, err, connector.ErrInterrupted)
				break
			}
			assert.NotZero(t, ev.Kind)
		}
		err = <-called
		require.False(t, errors.Is(err, context.DeadlineExceeded))
		require.NoError(t, e.Close())
		if w, err := b.Watch(ctx, nil); err == nil {
			for err == nil {
				_, err = w.Next(ctx)
			}
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		if m, err := b.Monitor(ctx); err == nil {
			for err == nil {
				_, err = m.Next(ctx)
			}
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		_, err = b.Query(ctx, "ids")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}
