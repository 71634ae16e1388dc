package client

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
)

// piped is a broker at the other ends of streams in memory.
func piped(t *testing.T, serve func(p *peer)) *Config {
	port := uint32(0)
	return &Config{
		Name: "test", Logger: slog.New(slog.DiscardHandler), Linger: -1,
		Stream: func(context.Context) (*tsocket.Stream, error) {
			a, b := tsocket.Pipe()
			port++
			p := &peer{t: t, c: tsocket.AsNetConn(b), port: port}
			go func() {
				defer p.c.Close()
				serve(p)
			}()
			return a, nil
		},
	}
}

// A client lives in a synctest bubble, over a stream in memory, and leaves
// nothing behind that the next bubble would trip over.
func TestBubbles(t *testing.T) {
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			b, err := Dial(t.Context(), piped(t, func(p *peer) {
				p.want(frame.Hello)
				p.send(frame.Header{Type: frame.Welcome, Port: p.port, Pos: 1})
				for {
					h, body, err := p.read()
					if err != nil {
						return
					}
					switch h.Type {
					case frame.Send:
						m, err := connector.ParseExact(body)
						assert.NoError(t, err)
						p.raw(reply(m, "pong"))
					default:
						p.ack(h)
					}
				}
			}))
			require.NoError(t, err)
			e, err := b.OpenEndpoint(t.Context())
			require.NoError(t, err)
			require.NoError(t, e.Ping(t.Context()))
			ev, err := e.Call(t.Context(), text(id1, "ping"), connector.Dest{})
			require.NoError(t, err)
			assert.Equal(t, "pong", string(ev.Msg.Data))

			// Nobody sends anything: time passes at once.
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			start := time.Now()
			_, err = e.Recv(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Hour, time.Since(start))
			require.NoError(t, b.Close())
		})
	}
}

// TestGreetingTimesOut: a broker that accepts and is silent keeps nobody.
func TestGreetingTimesOut(t *testing.T) {
	defer testenv.NoLeaks(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := Dial(t.Context(), piped(t, func(p *peer) {
			p.want(frame.Hello)
			p.wantEnd()
		}))
		require.ErrorIs(t, err, connector.ErrTimeout)
		assert.Equal(t, 10*time.Second, time.Since(start))
	})
}

// TestLingerEnds: a broker that neither reads nor closes keeps Close for the time
// that Config says, and no longer.
func TestLingerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		cfg := piped(t, func(p *peer) {
			p.want(frame.Hello)
			p.send(frame.Header{Type: frame.Welcome, Port: p.port, Pos: 1})
			<-leave
		})
		cfg.Linger = 3 * time.Second
		cfg.Reconnect.Disabled = true
		b, err := Dial(t.Context(), cfg)
		require.NoError(t, err)
		e, err := b.OpenEndpoint(t.Context())
		require.NoError(t, err)
		for range 10 { // more than the stream takes, less than what Post waits for
			require.NoError(t, e.Post(t.Context(), connector.Message{ID: id1, Data: make([]byte, connector.MaxData)}, connector.Dest{Port: 1}))
		}
		start := time.Now()
		require.NoError(t, e.Close())
		assert.Equal(t, 3*time.Second, time.Since(start))
		require.NoError(t, b.Close())
		assert.Equal(t, 6*time.Second, time.Since(start))
		close(leave)
	})
}
