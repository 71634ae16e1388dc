package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
)

// rxKlogLine is what `rx klog --json` prints for each token.
type rxKlogLine struct {
	Cell        string    `json:"cell"`
	Client      string    `json:"client"`
	Service     string    `json:"service"`
	Begins      time.Time `json:"begins"`
	Expires     time.Time `json:"expires"`
	EncType     int32     `json:"enc_type"`
	SessionType int32     `json:"session_enc_type"`
	TicketType  uint32    `json:"ticket_type"`
	TicketBytes int       `json:"ticket_bytes"`
	Key         string    `json:"key"`
	Installed   []string  `json:"installed"`
}

// rxKlog is a run of `rx klog`.
type rxKlog struct {
	app *cli.App
	cfg klog.Config

	password bool
	renew    bool
	keyring  string
	file     string
	bus      bool
	busSaid  bool // --bus or --bus=false
	on       onHost
	places   []place
}

// A place is where keys are installed.
type place struct {
	name string
	to   klog.Installer
}

const (
	ringNone  = "none"
	thisCell  = "/etc/openafs/ThisCell"
	cellOfEnv = "AFSCELL"
)

func newRxKlog(app *cli.App) *cobra.Command {
	k := &rxKlog{app: app}
	c := &cobra.Command{
		Use:   "klog [USER[@REALM]]",
		Short: "Get a ticket for AFS from Kerberos, and install it as a key",
		Long: `Get a ticket for the servers of an AFS cell from Kerberos, and install it as a
key: type rxrpc, description afs@CELL. The key itself is never shown.

Who you are is shown by the credential cache that KRB5CCNAME names, or the usual
one (kinit fills it); by a keytab; or with --password, which is asked for on the
terminal, or else is the first line of standard input. The ticket is for
afs/CELL@REALM, or where there is no such service for afs@REALM.

The key goes into your keyring in the broker, for the sockets of its RxRPC agent,
and into your keyring of the kernel: where there are such. --bus, --keyring and
--file, which only you can read, say where instead; --on, that it is the broker
of another host, to which the key goes through NATS. --renew stays, and replaces
the key by a new one when two thirds of its life are over; without, the command
is to be run again before it expires. A cache is renewed as long as the KDC does
it, a password or keytab is used again.

The cell is --cell, else the environment variable AFSCELL, else what OpenAFS's
ThisCell says.`,
		Example: `  # with the ticket of kinit
  cnbus rx klog --cell example.com

  # by password
  cnbus rx klog --cell example.com --password joe

  # for the broker's sockets only
  cnbus rx klog --cell example.com --bus

  # for the calls of 'cnbus rx call --on two --key afs@example.com'
  cnbus rx klog --cell example.com --on two

  # a robot, for as long as it runs
  cnbus rx klog --cell example.com --keytab robot.keytab --file key --renew`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				k.cfg.Principal = args[0]
			}
			k.busSaid = c.Flags().Changed("bus")
			return k.run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&k.cfg.Cell, "cell", "", "`name` of the cell")
	f.BoolVar(&k.password, "password", false, "ask for the password of USER")
	f.StringVar(&k.cfg.Keytab, "keytab", "", "`path` of a keytab with the key of USER, by default of the first in it")
	f.StringVar(&k.cfg.Cache, "cache", "", "`path` of a credential cache")
	f.StringVar(&k.cfg.ServiceRealm, "service-realm", "", "`realm` of the cell's servers (default: [domain_realm], the cell's name in capitals, the user's)")
	f.StringVar(&k.cfg.Conf, "krb5-conf", "", "`path` of a krb5.conf (default $KRB5_CONFIG, else the usual one)")
	f.StringSliceVar(&k.cfg.KDCs, "kdc", nil, "`address` of a KDC, instead of those of krb5.conf and DNS")
	f.DurationVar(&k.cfg.Lifetime, "lifetime", 0, "`time` that the ticket is to be good for (default: krb5.conf's, or a day)")
	f.BoolVar(&k.cfg.Part, "part", false, "install the encrypted part of the ticket only, which is shorter")
	k.on.register(c)
	f.StringVar(&k.keyring, "keyring", "", "kernel's `keyring`: user, session, user-session or none (default user, and none with --file, --bus or --on)")
	f.BoolVar(&k.bus, "bus", false, "install the key in your keyring in the broker (default where a broker runs, but with --keyring or --file)")
	f.StringVar(&k.file, "file", "", "install the key in a file, too, at `path`")
	f.BoolVar(&k.renew, "renew", false, "stay, and get a new ticket in time, again and again")
	_ = c.RegisterFlagCompletionFunc("keyring", cobra.FixedCompletions([]string{"user", "session", "user-session", ringNone}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"keytab", "cache", "krb5-conf", "file"} {
		_ = c.MarkFlagFilename(name)
	}
	return c
}

func (k *rxKlog) run(ctx context.Context) error {
	if err := k.prepare(ctx); err != nil {
		return err
	}
	if k.renew {
		return noKDC(klog.Keep(ctx, k.cfg, k.use, func(err error) { fmt.Fprintf(k.app.Err, "cnbus: %v\n", err) }))
	}
	c, err := klog.Get(ctx, k.cfg)
	if err != nil {
		return noKDC(err)
	}
	return k.use(c)
}

// noKDC gives the exit code of what waited in vain.
func noKDC(err error) error {
	if errors.Is(err, syscall.ETIMEDOUT) {
		return fmt.Errorf("%w (%w)", err, cli.ErrNoAnswer)
	}
	return err
}

// prepare completes the flags, and asks for what is missing, before anybody is asked for a ticket.
func (k *rxKlog) prepare(ctx context.Context) (err error) {
	if k.cfg.Cell == "" {
		k.cfg.Cell = defaultCell()
	}
	switch {
	case k.cfg.Cell == "":
		return cli.Usagef("which cell? --cell")
	case k.password && k.cfg.Principal == "":
		return cli.Usagef("--password: whose? USER")
	case k.password && (k.cfg.Keytab != "" || k.cfg.Cache != "") || k.cfg.Keytab != "" && k.cfg.Cache != "":
		return cli.Usagef("--password, --keytab and --cache exclude each other")
	case k.cfg.Lifetime < 0:
		return cli.Usagef("--lifetime must not be negative")
	case k.on != "" && k.busSaid && !k.bus:
		return cli.Usagef("--on is for a broker's keyring: it does not go with --bus=false")
	}
	if err := k.findPlaces(ctx); err != nil {
		return err
	}
	if k.password {
		k.cfg.Password, err = k.askPassword(ctx)
	}
	return err
}

// findPlaces finds where the key is to be installed.
func (k *rxKlog) findPlaces(ctx context.Context) error {
	bus := k.bus || k.on != ""
	usual := k.keyring == "" && k.file == "" && !bus // nobody has said where
	if bus || usual && !k.busSaid {
		to := &brokerKeys{app: k.app, ctx: ctx, on: k.on}
		switch err := to.check(); {
		case err == nil:
			k.places = append(k.places, place{to.String(), to})
		case bus:
			return err
		}
	}
	ring := k.keyring
	if usual {
		ring = "user"
	}
	if ring != "" && ring != ringNone {
		to, err := openKernelRing(ring)
		switch {
		case err == nil:
			k.places = append(k.places, place{"keyring " + ring, to})
		case !usual || len(k.places) == 0: // elsewhere is enough
			return err
		}
	}
	if k.file != "" {
		k.places = append(k.places, place{"file " + k.file, klog.File(k.file)})
	}
	return nil
}

// brokerKeys installs keys in the broker. It connects anew each time: a broker may have been started again since.
type brokerKeys struct {
	app *cli.App
	ctx context.Context
	on  onHost
}

func (b *brokerKeys) String() string {
	if b.on != "" {
		return "keyring of the broker of host " + string(b.on)
	}
	return "keyring of the broker"
}

// check reports whether there is a broker with keys.
func (b *brokerKeys) check() error {
	return withKeys(b.ctx, b.app, b.on, func(ctx context.Context, k *rxKeys) error {
		_, err := k.Keyring(ctx, rxkeys.Me)
		return err
	})
}

// Add adds a key to the user's keyring.
func (b *brokerKeys) Add(typ keyring.Type, description string, payload []byte) error {
	return withKeys(b.ctx, b.app, b.on, func(ctx context.Context, k *rxKeys) error {
		return rxkeys.Installer{Client: k.Client, Context: ctx}.Add(typ, description, payload)
	})
}

// defaultCell is the machine's cell.
func defaultCell() string {
	if c := os.Getenv(cellOfEnv); c != "" {
		return c
	}
	b, err := os.ReadFile(thisCell)
	if err != nil || len(b) > 256 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// askPassword does not show what is typed.
func (k *rxKlog) askPassword(ctx context.Context) (string, error) {
	in, ok := k.app.In.(*os.File)
	if ok && term.IsTerminal(int(in.Fd())) {
		return readPassword(ctx, in, k.app.Err, "Password of "+k.cfg.Principal+": ")
	}
	line, err := bufio.NewReader(io.LimitReader(k.app.In, 4096)).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = cli.Usagef("no password on standard input")
		}
		return "", err
	}
	return line, nil
}

// readPassword gives the terminal back as it was if ctx ends first; what waits for the terminal ends with the
// process.
func readPassword(ctx context.Context, in *os.File, prompt io.Writer, text string) (string, error) {
	fd := int(in.Fd())
	old, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(prompt, text)
	type result struct {
		b   []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		read <- result{b, err}
	}()
	select {
	case r := <-read:
		fmt.Fprintln(prompt)
		defer clear(r.b)
		if r.err == nil && len(r.b) == 0 {
			return "", errors.New("no password")
		}
		return string(r.b), r.err
	case <-ctx.Done():
		_ = term.Restore(fd, old)
		fmt.Fprintln(prompt)
		return "", context.Cause(ctx)
	}
}

// use installs a token, and says so.
func (k *rxKlog) use(c *klog.Credential) error {
	defer c.Wipe()
	line := rxKlogLine{
		Cell: c.Cell, Client: c.Client, Service: c.Service, Begins: c.Begins.UTC(), Expires: c.Expires.UTC(), EncType: c.EncType, SessionType: c.SessionKey,
		TicketType: c.Token.Version, TicketBytes: len(c.Token.Ticket), Key: c.Description(), Installed: []string{},
	}
	for _, p := range k.places {
		if err := c.Install(p.to); err != nil {
			return err
		}
		line.Installed = append(line.Installed, p.name)
	}
	if k.app.JSON {
		return k.app.Out.JSON(line)
	}
	where := "nowhere"
	if len(line.Installed) > 0 {
		where = strings.Join(line.Installed, " and ")
	}
	k.app.Out.Printf("%s: ticket for %s until %s, installed as %s in %s\n", c.Client, c.Service, c.Expires.Format(time.RFC3339), line.Key, where)
	return nil
}
