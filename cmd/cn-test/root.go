package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
)

const rootLong = `cn-test is cn_test and ucon of the kernel's connector in one program. Without
arguments it needs nothing: where no broker is found it starts one within
itself. It asks to be notified through {-1,-1}, registers {0x123,0x456} and
{0x123,0x457}, sends "counter = N" to their group, prints what arrives in
ucon's format, and ends with a summary.

The format is: time, [idx.val] in hexadecimal, [seq.ack], and the data.

Exit codes: 0 everything expected arrived; 1 something did not; 2 the command
line is wrong; 3 no answer in time; 130 interrupted.`

// env is what all sub-commands share.
type env struct {
	app *cli.App
	bus string // --bus
}

// open opens the carrier that the flags name.
func (e *env) open(ctx context.Context) (*busflag.Carrier, error) {
	return busflag.Open(ctx, e.bus, e.app.SocketPath(), e.app.Log(slog.LevelWarn))
}

func newRoot(app *cli.App) *cobra.Command {
	e := &env{app: app}
	f := demoFlags{}
	root := &cobra.Command{
		Use:   "cn-test",
		Short: "Test a connector bus",
		Long:  rootLong,
		Example: `  # needs nothing, takes five seconds
  cn-test

  # faster, on the loopback carrier
  cn-test -n 10 --interval 50ms --bus loopback:`,
		Args:    cobra.NoArgs,
		Version: cli.Version(),
		RunE:    func(c *cobra.Command, _ []string) error { return demo(c.Context(), e, f) },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.Flags().IntVarP(&f.count, "count", "n", 5, "how many `messages` to send")
	root.Flags().DurationVar(&f.interval, "interval", time.Second, "the time between two of them")
	root.Flags().StringVar(&f.id, "id", "", "the first `id` to register; the second has the next val (default "+defaultID+", on netlink "+kernelID+")")
	_ = root.RegisterFlagCompletionFunc("id", cobra.NoFileCompletions)
	app.Flags(root)
	root.PersistentFlags().StringVar(&e.bus, "bus", "", busflag.Usage)
	_ = root.RegisterFlagCompletionFunc("bus", cobra.FixedCompletions(busflag.Names, cobra.ShellCompDirectiveNoSpace))
	root.AddCommand(
		newNotify(e), newSend(e), newRecv(e), newPing(e), newFlood(e), newSoak(e), newProc(e), newSock(e), newRx(e), cli.NewVersion(app),
	)
	return root
}
