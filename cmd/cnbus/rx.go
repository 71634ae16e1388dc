package main

import (
	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

func newRx(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "rx",
		Short: "Talk to RxRPC endpoints, such as AFS servers",
		Long: `Talk to RxRPC endpoints, such as the servers and clients of AFS. No broker is
needed.`,
		Example: `  # is the file server busy?
  cnbus rx debug afs1.example.com

  # a ticket for its cell
  cnbus rx klog --cell example.com`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(newRxDebug(app), newRxKlog(app))
	return c
}
