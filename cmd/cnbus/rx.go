package main

import (
	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

func newRx(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "rx",
		Short: "Talk to RxRPC endpoints, such as AFS servers",
		Long: `Talk to RxRPC endpoints, such as the servers and clients of AFS: by the RxRPC
agent of the broker, id rxrpc, which has the UDP ports, connections and keys of
all (docs/agents.md), or without one: debug and klog need none, call and listen
none with --direct.`,
		Example: `  # call a service
  cnbus rx call 127.0.0.1:7009 1234 hello

  # is the file server busy?
  cnbus rx debug afs1.example.com

  # a ticket for its cell
  cnbus rx klog --cell example.com`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(newRxCall(app), newRxListen(app), newRxCalls(app), newRxConns(app), newRxPeers(app), newRxDebug(app), newRxKey(app), newRxKlog(app))
	return c
}
