package natsbridge

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cnbus/cnbus/connector"
)

// EmbeddedConfig says how a NATS server runs within the process: a small site needs no other.
type EmbeddedConfig struct {
	// Name is the server's; it must differ from those of its cluster.
	Name string

	// Site is the site's name, and the cluster's.
	Site string

	// Listen is the address for clients, the brokers of other hosts above all; "" means none but this
	// process.
	Listen string

	// Cluster is the address for the other servers; "" means that there are none.
	Cluster string

	// Peers are the Cluster addresses of the other servers. Three servers that name each other go on when
	// one of them is gone.
	Peers []string

	// Store is the directory in which JetStream keeps the site's leases and registrations.
	Store string

	// Log receives what the server has to say; nil means slog.Default.
	Log *slog.Logger
}

// Embedded is a NATS server in this process.
type Embedded struct {
	s      *server.Server
	listen bool
}

// embeddedStart is how long the server may take to be ready.
const embeddedStart = 20 * time.Second

// routeReports is which attempts to reach another server are told, besides the first: they are made every second.
const routeReports = 60

// StartEmbedded starts a NATS server. It listens where it is told to, and stores on disk.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	fail := func(err error) (*Embedded, error) { return nil, fmt.Errorf("embedded NATS server: %w", err) }
	if cfg.Store == "" || cfg.Name == "" {
		return fail(fmt.Errorf("it needs a name and a directory for its store: %w", connector.ErrInvalid))
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	opts := &server.Options{
		ServerName: cfg.Name, NoSigs: true, DontListen: cfg.Listen == "", JetStream: true, StoreDir: cfg.Store,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 30, DisableJetStreamBanner: true,
		ConnectErrorReports: routeReports, ReconnectErrorReports: routeReports,
	}
	var err error
	if cfg.Listen != "" {
		if opts.Host, opts.Port, err = hostPort(cfg.Listen); err != nil {
			return fail(err)
		}
	}
	if cfg.Cluster != "" {
		opts.Cluster.Name = "cnbus_" + cfg.Site
		if opts.Cluster.Host, opts.Cluster.Port, err = hostPort(cfg.Cluster); err != nil {
			return fail(err)
		}
		for _, p := range cfg.Peers {
			if _, _, err := hostPort(p); err != nil {
				return fail(err)
			}
			opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: p})
		}
	} else if len(cfg.Peers) > 0 {
		return fail(fmt.Errorf("other servers are named, but no address for them to connect to: %w", connector.ErrInvalid))
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fail(err)
	}
	s.SetLogger(serverLog{cfg.Log}, false, false)
	s.Start()
	if !s.ReadyForConnections(embeddedStart) {
		s.Shutdown()
		return fail(errors.New("it is not ready; is the address taken?"))
	}
	return &Embedded{s, cfg.Listen != ""}, nil
}

func hostPort(addr string) (string, int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", err, connector.ErrInvalid)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port of %s: %w: %w", addr, err, connector.ErrInvalid)
	}
	if n == 0 {
		return host, -1, nil // any
	}
	return host, int(n), nil
}

// URL is where other hosts find the server.
func (e *Embedded) URL() string { return e.s.ClientURL() }

// name is what people are told of the connection to the server, which is no connection to an address.
func (e *Embedded) name() string {
	if !e.listen {
		return "embedded"
	}
	return "embedded, for others at " + e.URL()
}

// Close stops the server and waits for it.
func (e *Embedded) Close() {
	e.s.Shutdown()
	e.s.WaitForShutdown()
}

// serverLog gives the server's lines to a slog.Logger; what it notices all day is for debugging.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) {
	l.log.Debug("NATS: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) { l.log.Warn("NATS: " + fmt.Sprintf(format, v...)) }

func (l serverLog) Errorf(format string, v ...any) {
	if strings.Contains(format, "trying to connect to route") { // another server of the cluster is not there, as when all are started
		l.Warnf(format, v...)
		return
	}
	l.log.Error("NATS: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) { l.log.Error("NATS: " + fmt.Sprintf(format, v...)) }
func (l serverLog) Debugf(string, ...any)          {}
func (l serverLog) Tracef(string, ...any)          {}
