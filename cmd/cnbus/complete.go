package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// completeTime bounds how long the Tab key may take.
const completeTime = 500 * time.Millisecond

// completeIDs completes the ids that are registered now, as arguments up to the
// number given (0: any number).
func completeIDs(app *cli.App, limit int) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if limit > 0 && len(args) >= limit {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeTime)
		defer cancel()
		cfg := &client.Config{
			Socket: app.SocketPath(), Name: "cnbus completion", Logger: slog.New(slog.DiscardHandler),
			Reconnect: client.Reconnect{Disabled: true},
		}
		if cli.OverTLS(cfg) != nil {
			return nil, nothing
		}
		bus, err := client.Dial(ctx, cfg)
		if err != nil {
			return nil, nothing
		}
		defer bus.Close()
		rows, err := cli.Query[[]broker.IDRow](ctx, bus, "ids")
		if err != nil {
			return nil, nothing
		}
		var found []string
		for _, r := range rows {
			if id := r.ID.String(); strings.HasPrefix(id, prefix) {
				found = append(found, id+"\t"+r.Name)
			}
		}
		return found, nothing
	}
}
