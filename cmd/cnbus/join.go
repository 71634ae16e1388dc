package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// joinEmbedded is what --join says for a NATS server within the process.
const joinEmbedded = "embedded"

// joinFlags say whether and how a broker joins a site (docs/hosts.md).
type joinFlags struct {
	join     string
	host     string
	site     string
	siteIDs  []string
	hostUIDs string
	lease    time.Duration
	agents   bool
	replicas int
	creds    string
	ca       string
	cert     string
	key      string
	nkey     string
	user     string
	password string

	listen  string
	cluster string
	peers   []string
	store   string

	ids *cbid.Set
}

func (f *joinFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.join, "join", "", "join the brokers of other hosts (docs/hosts.md) through NATS at these `urls`, with commas between them, or embedded")
	fl.StringVar(&f.host, "host", "", "`name` of this host in the site; default: the host's name")
	fl.StringVar(&f.site, "site", "main", "`name` of the site")
	fl.StringSliceVar(&f.siteIDs, "site-ids", nil, "these `ids` are registered for the whole site without the agent's asking")
	fl.StringVar(&f.hostUIDs, "host-uids", "nobody", "who the users of other hosts are here: `nobody`, or same")
	fl.BoolVar(&f.agents, "site-agents", false, "offer the agents of sockets and of RxRPC to the other hosts, as far as the policy lets their users")
	fl.DurationVar(&f.lease, "lease", natsbridge.DefaultLease, "how long a host counts after it was last heard of; the same on all hosts")
	fl.IntVar(&f.replicas, "replicas", 0, "on how many NATS servers the site's store is; default: 3 of a cluster, 1 where there are no three")
	fl.StringVar(&f.creds, "nats-creds", "", "credentials `file` for NATS")
	fl.StringVar(&f.ca, "nats-ca", "", "`file` with the certificates that sign those of the NATS servers")
	fl.StringVar(&f.cert, "nats-cert", "", "`file` with this broker's certificate for NATS")
	fl.StringVar(&f.key, "nats-key", "", "`file` with its key")
	fl.StringVar(&f.nkey, "nats-nkey", "", "`file` with the seed of this broker's nkey")
	fl.StringVar(&f.user, "nats-user", "", "`name` of this broker's user at NATS")
	fl.StringVar(&f.password, "nats-password-file", "", "`file` whose first line is that user's password")
	fl.StringVar(&f.listen, "embedded-listen", "", "`address` at which the embedded NATS server takes other brokers")
	fl.StringVar(&f.cluster, "embedded-cluster", "", "`address` at which it takes the other servers of its cluster")
	fl.StringSliceVar(&f.peers, "embedded-peers", nil, "the cluster `addresses` of the other servers")
	fl.StringVar(&f.store, "embedded-store", "", "its `directory`; default: beside the socket")
	for _, name := range []string{"nats-creds", "nats-ca", "nats-cert", "nats-key", "nats-nkey", "nats-password-file"} {
		_ = c.MarkFlagFilename(name)
	}
	_ = c.MarkFlagDirname("embedded-store")
	_ = c.RegisterFlagCompletionFunc("host-uids", cobra.FixedCompletions([]string{"nobody", "same"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"join", "host", "site", "site-ids", "replicas", "embedded-listen", "embedded-cluster", "embedded-peers", "lease", "nats-user"} {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// check finds what is wrong with the flags.
func (f *joinFlags) check() (err error) {
	if f.join == "" {
		return nil
	}
	switch {
	case f.hostUIDs != "nobody" && f.hostUIDs != "same":
		return cli.Usagef("--host-uids %s: nobody or same", f.hostUIDs)
	case (f.cert == "") != (f.key == ""):
		return cli.Usagef("--nats-cert and --nats-key go together")
	case (f.user == "") != (f.password == ""):
		return cli.Usagef("--nats-user and --nats-password-file go together")
	case f.join != joinEmbedded && (f.listen != "" || f.cluster != "" || len(f.peers) > 0 || f.store != ""):
		return cli.Usagef("--embedded-... are for --join embedded")
	case len(f.peers) > 0 && f.cluster == "":
		return cli.Usagef("--embedded-peers needs --embedded-cluster, for them to reach this server")
	}
	if len(f.siteIDs) > 0 {
		if f.ids, err = cli.ParseSet(f.siteIDs); err != nil {
			return err
		}
	}
	if f.host == "" {
		if f.host, err = os.Hostname(); err != nil {
			return fmt.Errorf("the host's name: %w", err)
		}
	}
	return nil
}

// joined is the broker's place in a site, while it has one.
type joined struct {
	server *natsbridge.Embedded
	name   string
	offers chan []offer // when there are any
	bridge atomic.Pointer[natsbridge.Bridge]
	why    atomic.Pointer[string] // it has not joined yet
	slow   toldWhy                // run's: what takes time,
	failed toldWhy                // and what has failed
	cancel context.CancelFunc
	done   chan struct{}
}

// because takes note of why the broker has not joined yet, again and again, and reports whether the log is to say so.
func (j *joined) because(err error, told *toldWhy) bool {
	why := err.Error()
	j.why.Store(&why)
	return told.due(why, time.Now())
}

// toldWhy is what the log has last said of a failure that goes on.
type toldWhy struct {
	why string
	at  time.Time
}

// due reports whether the log is to say why: at once, then what is new at most every 10 s, and the same every minute.
func (t *toldWhy) due(why string, now time.Time) bool {
	if since := now.Sub(t.at); since < 10*time.Second || since < time.Minute && why == t.why {
		return false
	}
	*t = toldWhy{why, now}
	return true
}

// startJoin joins b in the background: until the site can be reached, the broker serves its own host.
func startJoin(ctx context.Context, b *broker.Broker, f *joinFlags, log *slog.Logger, notice func(string, ...any)) (*joined, error) {
	j := &joined{name: f.host, done: make(chan struct{}), offers: make(chan []offer, 1)}
	cfg := &natsbridge.Config{
		Host: f.host, Site: f.site, URL: f.join, Lease: f.lease, Replicas: f.replicas, SameUsers: f.hostUIDs == "same", Log: log,
		Trying: func(err error) {
			if j.because(err, &j.slow) {
				log.Warn("not joined yet", "err", err)
			}
		},
		Credentials: f.creds, CA: f.ca, Cert: f.cert, Key: f.key,
		NKey: f.nkey, User: f.user, PasswordFile: f.password,
	}
	if f.ids != nil {
		cfg.SiteWide = f.ids.Contains
	}
	if f.cert != "" {
		if _, err := tls.LoadX509KeyPair(f.cert, f.key); err != nil {
			return nil, fmt.Errorf("certificate for NATS: %w", err)
		}
	}
	if err := cfg.Check(); err != nil { // trying again would not help
		return nil, cli.Usagef("--join: %v", err)
	}
	if f.join == joinEmbedded {
		if err := j.embed(b, f, cfg, log); err != nil {
			return nil, err
		}
	}
	ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(j.done)
		j.run(ctx, b, cfg, log, notice)
	}()
	return j, nil
}

func (j *joined) embed(b *broker.Broker, f *joinFlags, cfg *natsbridge.Config, log *slog.Logger) (err error) {
	store := f.store
	if store == "" {
		if b.Path() == "" {
			return cli.Usagef("--embedded-store is needed where the socket is systemd's")
		}
		store = b.Path() + ".nats"
	}
	if store, err = filepath.Abs(store); err != nil {
		return err
	}
	j.server, err = natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{
		Name: f.host, Site: f.site, Listen: f.listen, Cluster: f.cluster, Peers: f.peers, Store: store, Log: log,
	})
	if err != nil {
		return err
	}
	cfg.Server = j.server
	if cfg.Replicas == 0 && len(f.peers) >= 2 {
		cfg.Replicas = 3
	}
	return nil
}

// joinAgain is how long after a failure the broker tries again to join.
const joinAgain = 2 * time.Second

// run joins, stays until ctx ends, and leaves.
func (j *joined) run(ctx context.Context, b *broker.Broker, cfg *natsbridge.Config, log *slog.Logger, notice func(string, ...any)) {
	bus, err := b.Bus(ctx, "cnbus serve: hosts")
	if err == nil {
		defer bus.Close()
		err = natsbridge.Serve(ctx, bus, j.hosts)
	}
	if err != nil && !errors.Is(err, connector.ErrClosed) && ctx.Err() == nil {
		log.Warn("'cnbus hosts' will not work", "err", err)
	}
	var bridge *natsbridge.Bridge
	for {
		once, cancel := context.WithTimeout(ctx, 3*cfg.Lease+30*time.Second)
		var err error
		bridge, err = natsbridge.Join(once, b, cfg)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		var op *connector.OpError
		if errors.As(err, &op) {
			err = op.Err // that it is about joining is known
		}
		if j.because(err, &j.failed) {
			log.Error("not joined, trying again", "err", err)
		}
		if cli.Wait(ctx, joinAgain) != nil {
			return
		}
	}
	j.bridge.Store(bridge)
	notice("joined site %s as host %s, number %d", strings.TrimSpace(cfg.Site), cfg.Host, bridge.Number())
	select {
	case all := <-j.offers:
		var wg sync.WaitGroup
		for _, o := range all {
			wg.Go(func() { o.make(ctx, bridge.Number(), cfg.Host, log) })
		}
		<-ctx.Done()
		wg.Wait()
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinLeave)
	defer cancel()
	if err := bridge.Close(end); err != nil {
		log.Debug("leaving the site", "err", err)
	}
}

// joinLeave is how long the good-bye to the site may take.
const joinLeave = 5 * time.Second

// offer is an agent of this host that the site gets.
type offer struct {
	what string // in words
	site func(ctx context.Context, host uint32, name string) error
}

// offer gives the site agents. It may be called on nil.
func (j *joined) offer(all []offer) {
	if j != nil {
		j.offers <- all
	}
}

// make offers an agent to the site. While that cannot be asked it is tried again.
func (o offer) make(ctx context.Context, host uint32, name string, log *slog.Logger) {
	for first := true; ; first = false {
		err := o.site(ctx, host, name)
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, connector.ErrClosed):
			return
		case !errors.Is(err, connector.ErrInterrupted):
			log.Warn(o.what+" stay on this host", "err", byPolicy(err))
			return
		}
		if first {
			log.Warn(o.what+" are not offered to the site yet, trying again", "err", err)
		}
		if cli.Wait(ctx, joinAgain) != nil {
			return
		}
	}
}

// hosts returns the hosts of the site, or why there is none yet. It may be called on nil, for nothing.
func (j *joined) hosts(ctx context.Context) ([]natsbridge.HostRow, error) {
	if j == nil {
		return nil, nil
	}
	if b := j.bridge.Load(); b != nil {
		return b.Hosts(ctx)
	}
	row := natsbridge.HostRow{Name: j.name, State: natsbridge.StateJoining, Why: "the broker is joining the site"}
	if why := j.why.Load(); why != nil {
		row.Why = *why
	}
	return []natsbridge.HostRow{row}, nil
}

// stop leaves the site. It may be called twice, and on nil.
func (j *joined) stop() {
	if j == nil {
		return
	}
	j.cancel()
	<-j.done
	if j.server != nil {
		j.server.Close()
		j.server = nil
	}
}
