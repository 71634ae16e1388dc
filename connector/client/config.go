package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// Config says how to reach a broker. A nil *Config is the zero one.
type Config struct {
	// Socket is the path of the broker's socket; empty means the search order of
	// docs/protocol.md.
	Socket string

	// Name is shown to people, by `cnbus ls` for instance: at most 31 bytes.
	// Empty means the name of the program.
	Name string

	// Reconnect says what happens when a connection breaks.
	Reconnect Reconnect

	// OnEvent is told what happens to the Bus itself: EventDown, EventUp, EventLost,
	// EventFailed for a Post of the Bus, for a registration that could not be
	// restored (Msg.ID) and for a history that could not (From.Group). Calls come one at
	// a time, in order, from the goroutine that reads: it must not block
	// and not call the Bus. The streams of endpoints have their own events.
	OnEvent func(connector.Event)

	// Logger gets what nobody else is told: panics of handlers, with their
	// stack. nil means slog.Default().
	Logger *slog.Logger

	// Stream makes the connection instead of dialling Socket: over TLS, a named
	// pipe, or whatever else is a stream. It is called for each connection, and again to
	// reconnect; the stream belongs to the client then.
	Stream func(ctx context.Context) (*tsocket.Stream, error)

	// Conn is Stream for who has a net.Conn.
	Conn func(ctx context.Context) (net.Conn, error)

	// DialTimeout bounds connecting and the greeting; 0 means 10 s.
	DialTimeout time.Duration

	// Linger bounds how long Close waits until the broker has taken what was
	// posted and has removed what was registered; 0 means 1 s, negative not at all.
	Linger time.Duration

	// OutBytes bounds what waits to be written on one connection: beyond
	// it senders wait. 0 means 256 KiB.
	OutBytes int

	// PendingBytes bounds the messages that an endpoint keeps for Recv while it reads
	// for a Call: beyond it the broker is asked to hold them back. 0 means 1 MiB.
	PendingBytes int

	// MailboxBytes bounds the messages that wait for the callback of one id: beyond
	// it the broker is asked to hold them back. 0 means 256 KiB.
	MailboxBytes int

	// QueryBytes bounds the answer to a Query; 0 means 64 MiB.
	QueryBytes int
}

// Reconnect is the policy for connections that broke. The zero value tries for
// ever.
type Reconnect struct {
	// Disabled makes a broken connection final: every later operation fails
	// with ErrInterrupted.
	Disabled bool

	// Min and Max bound the pause between attempts, which doubles from one to the next
	// and of which up to a half is random. 0 means 10 ms and 2 s. The pause before the
	// first attempt is random below Min.
	Min, Max time.Duration
}

// pause returns how long to wait before attempt n, counted from 0.
func (r Reconnect) pause(n int) time.Duration {
	if n == 0 {
		return rand.N(r.Min)
	}
	d := r.Max
	if n < 32 {
		d = min(r.Min<<(n-1), r.Max)
	}
	if d <= 0 {
		d = r.Max
	}
	return d/2 + rand.N(d/2+1)
}

func orInt(v *int, def int) {
	if *v <= 0 {
		*v = def
	}
}

func orDuration(v *time.Duration, def time.Duration) {
	if *v == 0 {
		*v = def
	}
}

// withDefaults returns a copy in which every field has its meaning.
func (c *Config) withDefaults() *Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Name == "" {
		d.Name = programName()
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	orDuration(&d.DialTimeout, 10*time.Second)
	orDuration(&d.Linger, time.Second)
	orDuration(&d.Reconnect.Min, 10*time.Millisecond)
	orDuration(&d.Reconnect.Max, 2*time.Second)
	d.Reconnect.Min = max(d.Reconnect.Min, 1)
	d.Reconnect.Max = max(d.Reconnect.Max, d.Reconnect.Min)
	orInt(&d.OutBytes, defaultOutBytes)
	orInt(&d.PendingBytes, 1<<20)
	orInt(&d.MailboxBytes, 256<<10)
	orInt(&d.QueryBytes, 64<<20)
	return &d
}
