package natsbridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cnbus/cnbus/connector"
)

// connectAgain is how long after a failure NATS is tried again.
const connectAgain = 250 * time.Millisecond

// connect connects to NATS and finds out which host this is. A server that is not there is waited for until ctx ends; one that
// does not take this broker, or is not taken by it, is an error at once.
func (g *Bridge) connect(ctx context.Context) (err error) {
	opts := []nats.Option{
		nats.Name("cnbus " + g.cfg.Host), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectWait(connectAgain),
		// Credentials that have ended may be renewed: their files are read again each time.
		nats.IgnoreAuthErrorAbort(),
		// The core gathers already: each payload is written at once, by who publishes it and not by a goroutine of NATS's client.
		nats.WriteBufferSize(1),
		nats.ReconnectBufSize(-1), // what is said meanwhile is said again by who must be heard
		nats.PingInterval(g.cfg.Lease / 4), nats.MaxPingsOutstanding(2), nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) { g.connected(nc, false, err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { g.connected(nc, true, nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { g.asyncError(err) }),
	}
	more, err := g.cfg.options()
	if err != nil {
		return err
	}
	g.line = &dialer{before: g.gather}
	opts = append(append(opts, more...), g.line.option)
	where, servers := g.cfg.URL, "NATS at "+hideSecrets(g.cfg.URL)
	if g.cfg.Server != nil {
		where, servers = "", "NATS in this process"
	}
	for {
		if g.nc, err = nats.Connect(where, opts...); err == nil {
			g.line.connected(g.nc.IsConnected)
			break
		}
		if !passing(err) {
			return fmt.Errorf("%s: %w", servers, err)
		}
		g.cfg.Trying(fmt.Errorf("%s: %w", servers, err))
		t := time.NewTimer(connectAgain)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%s: %w", servers, errors.Join(err, ctx.Err()))
		case <-t.C:
		}
	}
	if err = g.identify(ctx); err != nil {
		g.cancel() // the end of the connection is no news
		g.nc.Close()
		return fmt.Errorf("%s: %w", servers, err)
	}
	return nil
}

// passing reports whether an error of nats.Connect may pass by itself: the server is not there yet, or the network is down.
func passing(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op != "remote error" // an alert of TLS, such as that our certificate is not taken
	}
	var ne net.Error
	for _, e := range []error{nats.ErrNoServers, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrStaleConnection, nats.ErrDisconnected, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	text := strings.ToLower(err.Error())
	return errors.As(err, &ne) && ne.Timeout() || strings.Contains(text, tooSlow) || strings.Contains(text, pingFirst)
}

// What a connection ends with that has taken its time, as the server or this host is busy; nats.go has no errors of its own for it.
const (
	// The server has not seen in time who connects.
	tooSlow = "authentication timeout"
	// The server asks after two seconds whether somebody is there, before it has answered the greeting; nats.go takes that for no NATS.
	pingFirst = "expected 'pong', got 'ping'"
)

// asyncError takes what NATS has to say of what was done before.
func (g *Bridge) asyncError(err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		g.slow.Add(1)
	case errors.Is(err, nats.ErrPermissionViolation):
		g.denied.CompareAndSwap(nil, &err)
	}
	g.log.Warn("NATS", "err", err)
}

// refused is why the server does not let this broker do something, if it has said so.
func (g *Bridge) refused() error {
	if err := g.denied.Load(); err != nil {
		return *err
	}
	if err := g.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	return nil
}

func (g *Bridge) identify(ctx context.Context) error {
	if most := g.nc.MaxPayload(); most < minPayload {
		return fmt.Errorf("the server takes messages of at most %d bytes, %d are needed (max_payload)", most, minPayload)
	}
	js, err := jetstream.New(g.nc)
	if err != nil {
		return err
	}
	if g.store, err = openStore(ctx, js, g.cfg, g.refused); err != nil {
		return err
	}
	g.number, err = g.store.hostNumber(ctx, g.cfg.Host)
	g.store.host = g.number
	return err
}

func (g *Bridge) connected(nc *nats.Conn, yes bool, err error) {
	if g.ctx.Err() != nil {
		return
	}
	if yes {
		g.line.connected(nc.IsConnected)
		g.log.Info("NATS connection is back", "server", nc.ConnectedAddr())
	} else {
		g.log.Warn("NATS connection lost", "err", err)
		g.wg.Go(g.explain)
		g.reads.disconnected()
	}
	g.post(func() { g.core.setConnected(yes) })
}

// explain tells why the connection does not come back, where that is not for want of a server: NATS's client does not.
func (g *Bridge) explain() {
	if !g.explaining.CompareAndSwap(false, true) {
		return
	}
	defer g.explaining.Store(false)
	t := time.NewTicker(g.cfg.Lease / renewals)
	defer t.Stop()
	told := ""
	for !g.nc.IsConnected() && !g.nc.IsClosed() {
		if err := g.nc.LastError(); err != nil && !passing(err) && err.Error() != told {
			told = err.Error()
			g.log.Error("NATS does not take the connection back", "err", err)
		}
		select {
		case <-t.C:
		case <-g.ctx.Done():
			return
		}
	}
}

// options are those of the connection that the fields ask for.
func (c *Config) options() (opts []nats.Option, err error) {
	if c.Server == nil {
		if err := checkURLs(c.URL); err != nil {
			return nil, err
		}
	}
	if c.Server != nil {
		opts = append(opts, nats.InProcessServer(c.Server.s))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("NATS key %s: %w: %w", c.NKey, err, connector.ErrInvalid)
		}
		opts = append(opts, o)
	}
	if c.User != "" {
		if _, err := readPassword(c.PasswordFile); err != nil {
			return nil, fmt.Errorf("NATS password: %w", err)
		}
		opts = append(opts, nats.UserInfoHandler(func() (string, string) {
			word, err := readPassword(c.PasswordFile)
			if err != nil {
				c.Log.Error("NATS password", "err", err)
			}
			return c.User, word
		}))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	return append(opts, c.Options...), nil
}

// readPassword is the first line of the file.
func readPassword(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// checkURLs finds what is wrong with a list of URLs. It does not repeat one: there may be a password in it.
func checkURLs(list string) error {
	for i, s := range strings.Split(list, ",") {
		u, err := parseURL(s)
		switch {
		case err == nil && strings.Contains(behindHost(u), "@"):
			return fmt.Errorf("URL %d of NATS has a / ? or # before its @: write them as %%2F, %%3F, %%23 in a name, password or token: %w", i+1, connector.ErrInvalid)
		case err == nil && (u.Scheme == "nats" || u.Scheme == "tls" || u.Scheme == "ws" || u.Scheme == "wss") && u.Host != "":
		default:
			return fmt.Errorf("URL %d of NATS is none of the kind nats://HOST:PORT or tls://HOST:PORT: %w", i+1, connector.ErrInvalid)
		}
	}
	return nil
}

// parseURL takes HOST:PORT too, as NATS does.
func parseURL(s string) (*url.URL, error) {
	if s = strings.TrimSpace(s); !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	return url.Parse(s)
}

// behindHost is all that follows the host: of NATS's URLs a WebSocket's path at most.
func behindHost(u *url.URL) string { return u.Opaque + u.Path + u.RawQuery + u.Fragment }

// hideSecrets is a list of URLs without the names, passwords and tokens in them.
func hideSecrets(list string) string {
	urls := strings.Split(list, ",")
	for i, s := range urls {
		u, err := parseURL(s)
		if err != nil || u.Host == "" || strings.Contains(behindHost(u), "@") {
			urls[i] = "?" // what looks like a host, or a path, may be a part of a password
			continue
		}
		urls[i] = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	}
	return strings.Join(urls, ",")
}
