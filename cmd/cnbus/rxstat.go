package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

func newRxCalls(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "calls",
		Short: "List the RxRPC calls of the broker's agent",
		Long: `List the calls that the RxRPC agent has in progress for clients of the broker, as
/proc/net/rxrpc/calls does for the kernel's. You see your own; root, and the
broker's own user, see all. STATE is Linux's name for it.`,
		Example: `  cnbus rx calls

  # live
  cnbus rx calls --watch 1s`,
		Args: cobra.NoArgs,
	}
	columns := []string{"LOCAL", "REMOTE", ">SERVICE", "SIDE", "STATE", ">CONN", ">CALL", ">RECEIVED", ">QUEUED", ">QUIET", "USER", ">PID"}
	return rxList(c, app, "calls", columns, func(t *cli.Table, k *rxagent.CallInfo) {
		t.Row(k.Local, k.Remote, k.Service, side(k.Client), k.State, fmt.Sprintf("%08x", k.Conn), k.Call, k.Received, k.Queued, cli.Duration(k.Quiet), userOf(k.UID), pidOf(k.PID))
	})
}

func newRxConns(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "conns",
		Short: "List the RxRPC connections of the broker's agent",
		Long: `List the connections of the RxRPC agent, as /proc/net/rxrpc/conns does for the
kernel's: those with calls, and those that are kept for the next ones.`,
		Example: `  cnbus rx conns --json`,
		Args:    cobra.NoArgs,
	}
	columns := []string{"LOCAL", "REMOTE", ">SERVICE", "SIDE", ">CONN", "SECURITY", ">ACTIVE", ">SERIAL", ">IN", ">OUT"}
	return rxList(c, app, "conns", columns, func(t *cli.Table, k *rxrpc.ConnStatus) {
		t.Row(k.Local, k.Remote, k.Service, side(k.Client), fmt.Sprintf("%08x", k.Conn), securityOf(k), k.Active, k.Serial, cli.Count(int(k.PacketsIn)), cli.Count(int(k.PacketsOut)))
	})
}

func newRxPeers(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "peers",
		Short: "List what the broker's agent knows of RxRPC peers",
		Long: `List the peers of the RxRPC agent, as /proc/net/rxrpc/peers does for the kernel's:
round-trip time, retransmission time-out, how large datagrams may be, how much
went and was sent again.`,
		Example: `  cnbus rx peers`,
		Args:    cobra.NoArgs,
	}
	columns := []string{"LOCAL", "REMOTE", ">CONNS", ">RTT", ">RTO", ">MTU", ">IN", ">OUT", ">SENT", ">RESENT"}
	return rxList(c, app, "peers", columns, func(t *cli.Table, k *rxrpc.PeerStatus) {
		t.Row(k.Local, k.Remote, k.Conns, measured(k.RTT), cli.Duration(k.RTO), k.MTU, cli.Bytes(k.BytesIn), cli.Bytes(k.BytesOut), cli.Count(k.Sent), cli.Count(k.Resent))
	})
}

func side(client bool) string {
	if client {
		return "client"
	}
	return "server"
}

// nobody is the uid of a call that is no client's yet.
const nobody = 1<<32 - 1

func userOf(uid uint32) string {
	if uid == nobody {
		return "-"
	}
	return cli.User(uid)
}

func pidOf(pid uint32) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}

func measured(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return cli.Duration(d)
}

func securityOf(k *rxrpc.ConnStatus) string {
	switch {
	case k.Security == 0:
		return "none"
	case k.Security != 2:
		return fmt.Sprintf("class %d", k.Security)
	}
	level := fmt.Sprint(k.Level)
	if names := []string{"clear", "auth", "crypt"}; int(k.Level) < len(names) {
		level = names[k.Level]
	}
	if !k.Authenticated {
		return "rxkad " + level + "?"
	}
	return "rxkad " + level
}

// rxList has a command ask the agent and print what it says.
func rxList[T any](c *cobra.Command, app *cli.App, what string, columns []string, row func(*cli.Table, *T)) *cobra.Command {
	var on onHost
	on.register(c)
	again := watchFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		return withBus(ctx, app, "cnbus rx", func(bus *client.Bus) error {
			return again(ctx, app, func() error {
				all, err := askRx[T](ctx, bus, on, what)
				if err != nil {
					return err
				}
				t := cli.NewTable(columns...)
				return printList(app, what, all, t, func(k *T) { row(t, k) })
			})
		})
	}
	return c
}

// askRx gathers the pieces of an answer to STAT.
func askRx[T any](ctx context.Context, bus connector.Bus, on onHost, what string) ([]T, error) {
	host, err := on.number(ctx, bus)
	if err != nil {
		return nil, err
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	defer ep.Close()
	var text []byte
	for {
		h := rxmsg.Header{Op: rxmsg.OpStat, Arg: uint64(len(text))}
		ev, err := ep.Call(ctx, connector.Message{ID: rxmsg.SiteID(host), Data: append(h.Append(nil), what...)}, connector.Dest{})
		if err != nil {
			return nil, on.missing(err, host, "RxRPC")
		}
		r, body, err := rxmsg.ParseReply(ev.Msg.Data)
		if err == nil {
			err = r.Err(body)
		}
		if errors.Is(err, syscall.ESTALE) && len(text) > 0 { // others read as well
			text = text[:0]
			continue
		}
		if err != nil {
			return nil, err
		}
		if text = append(text, body...); r.Flags&rxmsg.FlagMore == 0 || len(body) == 0 {
			break
		}
	}
	var all []T
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("the agent's answer: %w", err)
	}
	return all, nil
}
