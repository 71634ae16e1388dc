package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc/rxdebug"
)

const rxDefaultPort = 7000 // AFS's file server

// rxDebugLine is one line of `rx debug --json`: one of these.
type rxDebugLine struct {
	Version string           `json:"version,omitempty"`
	Stats   *rxdebug.Stats   `json:"stats,omitempty"`
	RxStats *rxdebug.RxStats `json:"rx_stats,omitempty"`
	Conn    *rxdebug.Conn    `json:"conn,omitempty"`
	Peer    *rxdebug.Peer    `json:"peer,omitempty"`
}

// rxDebug is a run of `rx debug`.
type rxDebug struct {
	app    *cli.App
	client *rxdebug.Client
	now    func() time.Time

	version, rxStats, noConns, peers bool
	allConns, noDally, long          bool
	onlyServer, onlyClient           bool
	onlyHostName, onlyAuth           string
	onlyHost                         netip.Addr
	onlyPort                         uint16
	tries                            int
	wait                             time.Duration
	protocol                         rxdebug.Letter
}

func newRxDebug(app *cli.App) *cobra.Command {
	d := &rxDebug{app: app, now: time.Now}
	c := &cobra.Command{
		Use:   "debug HOST[:PORT]",
		Short: "Show what an RxRPC endpoint is doing, as rxdebug does",
		Long: `Show what an RxRPC endpoint is doing: its packets and threads, and then its
connections, unless --noconns; with --rxstats its counters, with --peers whom it
talks to. Flags and text are those of OpenAFS's rxdebug, which answers whoever
asks. Of connections only those are shown that somebody waits for or that have a
call in progress, unless --allconnections. Linux tells its --version only.

PORT is 7000, the file server's, unless given. The volume location server has
7003, the protection server 7002, a client's cache manager 7001.

A request is repeated after 1, 2, 4, ... times --wait; after --tries of them the
exit code is 3.`,
		Example: `  # is the file server busy?
  cnbus rx debug afs1.example.com

  # which version is it?
  cnbus rx debug afs1.example.com --version

  # all that the volume location server knows of a client
  cnbus rx debug afs1.example.com:7003 --allconnections --peers --long --onlyhost 192.0.2.7

  # for a script
  cnbus rx debug afs1.example.com --rxstats --noconns --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return d.run(c.Context(), args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&d.version, "version", false, "show what the endpoint calls itself, and nothing else")
	f.BoolVar(&d.rxStats, "rxstats", false, "show its counters")
	f.BoolVar(&d.noConns, "noconns", false, "show no connections")
	f.BoolVar(&d.peers, "peers", false, "show its peers")
	f.BoolVar(&d.allConns, "allconnections", false, "show connections without calls in progress, too")
	f.BoolVar(&d.noDally, "nodally", false, "show no connections whose calls are all done")
	f.BoolVar(&d.onlyServer, "onlyserver", false, "only connections of which it is the server")
	f.BoolVar(&d.onlyClient, "onlyclient", false, "only connections of which it is the client")
	f.StringVar(&d.onlyHostName, "onlyhost", "", "only connections and peers of this `host`")
	f.Uint16Var(&d.onlyPort, "onlyport", 0, "only connections and peers of this `port`")
	f.StringVar(&d.onlyAuth, "onlyauth", "", "only connections of this security `level`: none, clear, auth or crypt")
	f.BoolVar(&d.long, "long", false, "show more of each peer")
	f.IntVar(&d.tries, "tries", 5, "send a request at most `n` times")
	f.DurationVar(&d.wait, "wait", time.Second, "`time` until a request is sent again; twice as long each time")
	_ = c.RegisterFlagCompletionFunc("onlyauth", cobra.FixedCompletions([]string{"none", "clear", "auth", "crypt"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (d *rxDebug) run(ctx context.Context, target string) error {
	if d.tries < 1 || d.wait <= 0 {
		return cli.Usagef("--tries %d --wait %v: both must be more than nothing", d.tries, d.wait)
	}
	if d.onlyAuth != "" && !slices.Contains([]string{"none", "clear", "auth", "crypt"}, d.onlyAuth) {
		return cli.Usagef("--onlyauth %q: none, clear, auth or crypt", d.onlyAuth)
	}
	addr, err := resolveRx(ctx, target)
	if err != nil {
		return err
	}
	if d.onlyHostName != "" {
		if d.onlyHost, err = resolveHost(ctx, d.onlyHostName); err != nil {
			return err
		}
	}
	if d.client, err = rxdebug.Dial(addr, &rxdebug.Config{Tries: d.tries, Wait: d.wait}); err != nil {
		return err
	}
	defer d.client.Close()
	if !d.app.JSON {
		d.app.Out.Printf("Trying %v (port %d):\n", addr.Addr(), addr.Port())
	}
	err = d.show(ctx)
	if errors.Is(err, rxdebug.ErrNoAnswer) {
		err = fmt.Errorf("%w (%w)", err, cli.ErrNoAnswer)
	}
	return err
}

func (d *rxDebug) show(ctx context.Context) error {
	if d.version {
		text, err := d.client.Version(ctx)
		if err != nil {
			return err
		}
		return d.print(rxDebugLine{Version: text})
	}
	stats, err := d.client.Stats(ctx)
	if err != nil {
		return err
	}
	d.protocol = stats.Protocol
	if err := d.print(rxDebugLine{Stats: &stats}); err != nil {
		return err
	}
	if d.rxStats {
		if err := d.showRxStats(ctx, stats); err != nil {
			return err
		}
	}
	if !d.noConns {
		if err := d.showConns(ctx); err != nil {
			return err
		}
	}
	if d.peers {
		return d.showPeers(ctx)
	}
	return nil
}

func (d *rxDebug) showRxStats(ctx context.Context, stats rxdebug.Stats) error {
	const sorry = "the endpoint does not tell its Rx statistics"
	if !d.protocol.HasRxStats() {
		d.warn(sorry)
		return nil
	}
	s, err := d.client.RxStats(ctx)
	switch {
	case errors.Is(err, rxdebug.ErrNotSupported):
		d.warn(sorry)
		return nil
	case err != nil:
		return err
	case d.app.JSON:
		return d.print(rxDebugLine{RxStats: &s})
	}
	d.printRxStats(stats, s)
	return nil
}

func (d *rxDebug) showConns(ctx context.Context) error {
	if d.allConns && !d.protocol.HasAllConns() {
		d.warn("the endpoint does not tell all connections, only those with calls in progress")
	}
	d.printFilters()
	dallying := 0
	for c, err := range d.client.Conns(ctx, d.allConns) {
		if err != nil {
			return err
		}
		if d.noDally && c.Dallying() {
			dallying++
			continue
		}
		if d.wanted(c.Peer) && d.wantedConn(&c) {
			if err := d.print(rxDebugLine{Conn: &c}); err != nil {
				return err
			}
		}
	}
	if d.app.JSON {
		return nil
	}
	d.app.Out.Printf("Done.\n")
	if d.noDally {
		d.app.Out.Printf("Skipped %d dallying connections.\n", dallying)
	}
	return nil
}

func (d *rxDebug) showPeers(ctx context.Context) error {
	if !d.protocol.HasPeers() {
		d.warn("the endpoint does not tell its peers")
		return nil
	}
	for p, err := range d.client.Peers(ctx) {
		if err != nil {
			return err
		}
		if d.wanted(p.Addr) {
			if err := d.print(rxDebugLine{Peer: &p}); err != nil {
				return err
			}
		}
	}
	if !d.app.JSON {
		d.app.Out.Printf("Done.\n")
	}
	return nil
}

func (d *rxDebug) wanted(a netip.AddrPort) bool {
	return (!d.onlyHost.IsValid() || d.onlyHost == a.Addr()) && (d.onlyPort == 0 || d.onlyPort == a.Port())
}

func (d *rxDebug) wantedConn(c *rxdebug.Conn) bool {
	if d.onlyServer && !c.Server || d.onlyClient && c.Server {
		return false
	}
	const none, rxkad, rxgk = 0, 2, 4 // security indices
	switch {
	case d.onlyAuth == "":
		return true
	case d.onlyAuth == "none":
		return c.SecurityIndex == none
	case c.SecurityIndex != rxkad && c.SecurityIndex != rxgk:
		return false
	case c.Security.Class != rxdebug.ClassRxKAD && c.Security.Class != rxdebug.ClassRxGK:
		return true // its level is not told
	}
	return c.Security.Level.String() == d.onlyAuth
}

func (d *rxDebug) warn(text string) {
	if !d.app.Quiet {
		fmt.Fprintf(d.app.Err, "cnbus: %s\n", text)
	}
}

// resolveRx returns the address of HOST or HOST:PORT.
func resolveRx(ctx context.Context, target string) (netip.AddrPort, error) {
	host, port, err := splitRx(target)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := resolveHost(ctx, host)
	return netip.AddrPortFrom(addr, port), err
}

// splitRx takes HOST or HOST:PORT apart; an address of IPv6 may be in brackets, and before a port must be.
func splitRx(target string) (host string, port uint16, err error) {
	if inner, ok := strings.CutPrefix(target, "["); ok && strings.HasSuffix(inner, "]") {
		target = strings.TrimSuffix(inner, "]")
	}
	host, port = target, rxDefaultPort
	if _, err := netip.ParseAddr(target); err != nil {
		if h, p, err := net.SplitHostPort(target); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil || n == 0 {
				return "", 0, cli.Usagef("%q is no port", p)
			}
			host, port = h, uint16(n)
		}
	}
	if host == "" {
		return "", 0, cli.Usagef("%q names no host", target)
	}
	return host, port, nil
}

// resolveHost returns an address of host, one of IPv4 if there is one: AFS has no
// other.
func resolveHost(ctx context.Context, host string) (netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	if i := slices.IndexFunc(addrs, netip.Addr.Is4); i >= 0 {
		return addrs[i], nil
	}
	return addrs[0], nil
}
