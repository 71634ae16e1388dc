package main

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// rxFlags say by whom calls are made, or served.
type rxFlags struct {
	direct bool
	on     onHost
	key    string
	level  string
}

func (f *rxFlags) register(c *cobra.Command) {
	fl := c.Flags()
	f.how(c, "crypt", "`how` they are secured: clear, auth or crypt")
	fl.StringVar(&f.key, "key", "", "secure calls with the key of this `name`, as afs@CELL: of the agent, with --direct of the kernel's keyrings")
	_ = c.RegisterFlagCompletionFunc("key", cobra.NoFileCompletions)
}

// how registers what clients and servers have in common.
func (f *rxFlags) how(c *cobra.Command, level, usage string) {
	f.on.register(c)
	fl := c.Flags()
	fl.BoolVar(&f.direct, "direct", false, "not by the broker's agent, but by this process with a UDP socket of its own")
	fl.StringVar(&f.level, "level", level, usage)
	_ = c.RegisterFlagCompletionFunc("level", cobra.FixedCompletions([]string{"clear", "auth", "crypt"}, cobra.ShellCompDirectiveNoFileComp))
}

// serverSecurity is that of a keyring with the keys of a server, whose clients choose that level or a higher one.
func (f *rxFlags) serverSecurity(ring string) ([]rxrpc.ServerSecurity, error) {
	level, err := rxkad.ParseLevel(f.level)
	switch {
	case err != nil:
		return nil, cli.Usagef("--level %q: clear, auth or crypt", f.level)
	case f.direct:
		return kernelKeyring(ring, level)
	}
	return []rxrpc.ServerSecurity{rxclient.NamedKeyring(ring).At(level)}, nil
}

// rxDoor is how calls leave, or come.
type rxDoor struct {
	conn *rxclient.Conn // nil with --direct
	bus  *client.Bus
}

// open opens the way to the agent.
func (f *rxFlags) open(ctx context.Context, app *cli.App, name string) (*rxDoor, error) {
	switch {
	case f.direct && f.on != "":
		return nil, cli.Usagef("--on is for the agent of a host: it does not go with --direct")
	case f.direct:
		return &rxDoor{}, nil
	}
	bus, err := app.DialLive(ctx, name)
	if err != nil {
		return nil, err
	}
	host, err := f.on.number(ctx, bus)
	if err != nil {
		bus.Close()
		return nil, err
	}
	conn, err := rxclient.Dial(ctx, bus, &rxclient.Config{Host: host})
	if err != nil {
		bus.Close()
		return nil, f.on.missing(err, host, "RxRPC")
	}
	return &rxDoor{conn, bus}, nil
}

func (d *rxDoor) close() {
	if d.conn != nil {
		d.conn.Close()
		d.bus.Close()
	}
}

// dial returns a client of the services of peer.
func (d *rxDoor) dial(peer netip.AddrPort, cfg *rxrpc.ClientConfig) (*rxrpc.Client, error) {
	if d.conn != nil {
		return d.conn.Dial(peer.String(), cfg)
	}
	return rxrpc.Dial(peer.String(), cfg)
}

// listen returns an endpoint at a local address.
func (d *rxDoor) listen(local netip.AddrPort, log *slog.Logger) (*rxrpc.Endpoint, error) {
	if d.conn != nil {
		return d.conn.Open(local, &rxrpc.Config{Logger: log})
	}
	return rxrpc.Open(local, &rxrpc.Config{Logger: log})
}

// security is that of --key and --level.
func (f *rxFlags) security() (rxrpc.ClientSecurity, error) {
	if f.key == "" {
		return nil, nil
	}
	level, err := rxkad.ParseLevel(f.level)
	switch {
	case err != nil:
		return nil, cli.Usagef("--level %q: clear, auth or crypt", f.level)
	case f.direct:
		return kernelSecurity(f.key, level)
	}
	return rxclient.NamedKey(f.key).At(level), nil
}
