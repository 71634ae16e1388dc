package broker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// Config says how a broker works. Nil means all defaults.
type Config struct {
	// Socket is the path of the unix socket; "" means sockpath.Default of the
	// running user. It is not used if Listeners is set.
	Socket string

	// Listeners are listening unix stream sockets that are there already, as systemd
	// hands them over.
	Listeners []*os.File

	// TLS lets clients on other machines connect; nil does not.
	TLS *TLSConfig

	// Policy is who may do what; nil means UserPolicy, or SystemPolicy for root.
	Policy *Policy

	// QueueBytes is how much may wait for one client before it counts as
	// full; 0 means 1 MiB.
	QueueBytes int

	// HistoryDir is where group histories are stored, so that they survive the broker; ""
	// means a directory beside the socket, "-" keeps them in memory.
	HistoryDir string

	// WillJoin says that Join is going to be called: until then registrations for all hosts wait for it,
	// where they would be refused otherwise.
	WillJoin bool

	// Drain is how long a stop may take to write what waits; 0 means 5 s.
	Drain time.Duration

	// Log receives what an operator wants to know; nil means slog.Default.
	Log *slog.Logger
}

// Broker is one running broker. Make it with New, run it with Serve.
type Broker struct {
	cfg  Config
	log  *slog.Logger
	loop *loop
	tls  *tlsServer  // nil without TLS
	lock *socketLock // nil if the sockets are not ours
	path string
}

// New makes a broker and opens its socket: when it returns, clients can
// connect, and are served once Serve runs. A second broker on the same socket is refused.
func New(cfg *Config) (*Broker, error) {
	b := &Broker{}
	if cfg != nil {
		b.cfg = *cfg
	}
	if b.log = b.cfg.Log; b.log == nil {
		b.log = slog.Default()
	}
	if b.cfg.Policy == nil {
		b.cfg.Policy = UserPolicy()
		if os.Geteuid() == 0 {
			b.cfg.Policy = SystemPolicy()
		}
	}
	if b.cfg.Drain == 0 {
		b.cfg.Drain = 5 * time.Second
	}
	self := connector.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: uint32(os.Getpid())}
	h := newHub(b.log, b.cfg.Policy, self, newInstance(), time.Now().UnixNano())
	if q := b.cfg.QueueBytes; q > 0 {
		h.tune.queue, h.tune.replies, h.tune.overrun = q, 4*q, max(q, 1<<20) // the last is for what clients have on their way
	}
	h.willJoin = b.cfg.WillJoin
	var err error
	if b.loop, err = newLoop(h, b.log); err != nil {
		return nil, err
	}
	if err := b.listen(); err != nil {
		b.loop.end()
		return nil, err
	}
	if b.cfg.TLS != nil {
		if b.tls, err = newTLSServer(b.loop, b.cfg.TLS); err != nil {
			b.loop.end()
			b.cleanup()
			return nil, err
		}
	}
	if err := b.openHistories(); err != nil {
		b.loop.end()
		b.cleanup()
		return nil, err
	}
	return b, nil
}

func (b *Broker) openHistories() error {
	dir := b.cfg.HistoryDir
	if dir == "" && b.path != "" {
		dir = b.path + ".histories"
	}
	if dir == "" || dir == "-" {
		return nil
	}
	return b.loop.hub.loadHistories(dir)
}

// newInstance is a number that no other run of a broker has.
func newInstance() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])>>1 | 1
}

// Path is the socket's path, "" where listeners were handed over.
func (b *Broker) Path() string { return b.path }

// TLSAddr is where clients connect over TLS, "" if they cannot.
func (b *Broker) TLSAddr() string {
	if b.tls == nil {
		return ""
	}
	return b.tls.addr()
}

// Serve runs the broker until ctx ends; then it stops accepting, writes what waits for clients,
// tells them that it stops, and returns nil.
func (b *Broker) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { b.Stop() })
	defer stop()
	if b.tls != nil {
		b.tls.start()
	}
	err := b.loop.run()
	b.cleanup()
	return err
}

// Stop ends Serve gracefully; a second call ends it at once.
func (b *Broker) Stop() {
	b.loop.post(func() { b.loop.drain("the broker stops", b.cfg.Drain) })
}

// Reload puts another policy in force. Connections stay, unless it no longer lets them
// connect; registrations and memberships that exist stay until their owner gives them up.
func (b *Broker) Reload(ctx context.Context, p *Policy) error {
	return b.loop.do(ctx, func() { b.loop.hub.reload(p) })
}

// Stat returns the broker's numbers.
func (b *Broker) Stat(ctx context.Context) (StatRow, error) {
	var row StatRow
	err := b.loop.do(ctx, func() { row = b.loop.hub.statRow(func(uint32) bool { return true }) })
	return row, err
}

// Conn opens a connection from inside the process, with the broker's own
// credentials, for agents that live with it.
func (b *Broker) Conn(ctx context.Context) (net.Conn, error) { return b.loop.pair(ctx) }
