package main

import (
	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

const rootLong = `cnbus is the kernel's connector for everybody: an agent registers a callback
under an id {idx, val}; anyone may send it a message, call it and get a reply,
join its group, and be told when another id appears or goes.

An id is written idx:val, decimal or hexadecimal (0x123:0x456), or by its name
(proc). Its group is the number idx.

The broker is looked for at --socket, else $CNBUS_SOCKET, else the user's own
($XDG_RUNTIME_DIR/cnbus/cnbus.sock, or /tmp/cnbus-UID/cnbus.sock), else the
host's (/run/cnbus/cnbus.sock).

Exit codes: 0 done; 1 failed; 2 the command line is wrong; 3 no answer in time;
130 interrupted.`

func newRoot(app *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "cnbus",
		Short: "A message bus with the kernel connector's model",
		Long:  rootLong,
		Example: `  # run the broker, as any user, without configuration
  cnbus serve

  # see who is registered
  cnbus ls

  # see every program that starts on this machine
  cnbus proc --event exec`,
		Version: cli.Version(),
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run the bus:"},
		&cobra.Group{ID: "look", Title: "Look at it:"},
		&cobra.Group{ID: "use", Title: "Use it:"},
	)
	for group, cmds := range map[string][]*cobra.Command{
		"run":  {newServe(app), newPolicy(app), newDoctor(app)},
		"look": {newLs(app), newWatch(app), newHosts(app), newStat(app), newMonitor(app), newSock(app)},
		"use":  {newSend(app), newCall(app), newListen(app), newProc(app), newRx(app)},
	} {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(cli.NewVersion(app))
	app.Flags(root)
	return root
}
