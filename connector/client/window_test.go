package client

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// postMany posts n messages to port 3.
func postMany(t *testing.T, post func(connector.Message, connector.Dest) error, n int) <-chan error {
	return run(func() error {
		for range n {
			if err := post(connector.Message{ID: id1, Data: make([]byte, 1000)}, connector.Dest{Port: 3}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestStopIsReadBeforeMoreThanAWindowHasLeft: however late whoever reads is, a sender has at most a
// window on its way that the broker takes after Stop.
func TestStopIsReadBeforeMoreThanAWindowHasLeft(t *testing.T) {
	const n = 4 * sendWindow / 1000
	test := func(t *testing.T, p *peer, post func(connector.Message, connector.Dest) error) {
		posted := postMany(t, post, n)
		// This broker reads all, and is not read: it writes nothing.
		var ping frame.Header
		taken, after, sent := 0, 0, 0 // bytes, bytes, messages
		for taken+int(frame.HeaderLen+connector.HeaderLen+1000) <= sendWindow-frame.HeaderLen {
			h, _ := p.next()
			taken += int(h.Len)
			if h.Type == frame.Ping {
				require.Zero(t, ping.Len, "one at a time")
				ping = h
				continue
			}
			sent++
			if ping.Len > 0 {
				after += int(h.Len)
			}
		}
		require.NotZero(t, ping.Len)
		select {
		case err := <-posted:
			require.Fail(t, "more than a window has left", "%v", err)
		default:
		}
		// It says Stop, and then what it has handled. What comes after that is not for who is full.
		p.send(frame.Header{Type: frame.Stop, Port: 3})
		p.ack(ping)
		other := run(func() error {
			return post(connector.Message{ID: id1, Seq: 99}, connector.Dest{Port: 4})
		})
		for {
			h, body := p.next()
			if h.Type != frame.Send {
				p.ack(h)
				continue
			}
			if h.Port == 4 {
				m, err := connector.ParseExact(body)
				require.NoError(t, err)
				require.EqualValues(t, 99, m.Seq)
				break
			}
			after += int(h.Len)
			sent++
		}
		assert.LessOrEqual(t, after, sendWindow)
		require.NoError(t, get(t, other))
		// With Go the rest comes, as long as it is answered for.
		p.send(frame.Header{Type: frame.Go, Port: 3})
		for sent < n {
			switch h, _ := p.next(); h.Type {
			case frame.Ping:
				p.ack(h)
			case frame.Send:
				sent++
			}
		}
		require.NoError(t, get(t, posted))
	}
	t.Run("agent", func(t *testing.T) {
		f := newFake(t)
		b, p := f.dial(f.config())
		test(t, p, func(m connector.Message, to connector.Dest) error { return b.Post(within(t), m, to) })
	})
	t.Run("endpoint", func(t *testing.T) {
		_, e, p := start(t)
		test(t, p, func(m connector.Message, to connector.Dest) error { return e.Post(within(t), m, to) })
	})
}

// TestRequestsDoNotUseUpTheWindow: only what is answered for counts, whatever it is that was sent.
func TestRequestsDoNotUseUpTheWindow(t *testing.T) {
	_, e, p := start(t)
	go p.swallow()
	l := e.link.Load()
	for range 2 * sendWindow / frame.HeaderLen {
		_, err := l.w.control(frame.Header{Type: frame.Unfollow}, nil, paceCork)
		require.NoError(t, err)
	}
	for range 100 {
		require.NoError(t, e.Post(within(t), connector.Message{ID: id1, Data: make([]byte, 16000)}, connector.Dest{Port: 3}))
	}
}
