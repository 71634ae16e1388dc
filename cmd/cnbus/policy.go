package main

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

func newPolicy(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Check a policy file, show what one may do",
		Long: `Who may register, send to, join and publish to which ids is said by a policy
file in TOML, which docs/policy.md explains.`,
	}
	c.AddCommand(newPolicyCheck(app), newPolicyShow(app))
	return c
}

func newPolicyCheck(app *cli.App) *cobra.Command {
	var uid, host string
	var gids []string
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a policy file is well-formed, and what it lets somebody do",
		Long: `Read a policy file as 'cnbus serve --policy' would. Exit code 1 says that it
would be refused, and why is printed.

With --uid it also says what that user may do. The groups are the user's own
unless --gid gives them. With --host, that user is one of that host of the site:
who this is here is said too, by the policy's [[host]].`,
		Example: `  # before a reload
  cnbus policy check policy.toml

  # what it means for somebody
  cnbus policy check policy.toml --uid nobody

  # uid 1000 of the host two
  cnbus policy check policy.toml --uid 1000 --host two`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return policyCheck(app, args[0], uid, gids, host) },
	}
	c.Flags().StringVar(&uid, "uid", "", "a `user`, name or number")
	c.Flags().StringSliceVar(&gids, "gid", nil, "`groups` of the user, names or numbers, the primary one first")
	c.Flags().StringVar(&host, "host", "", "the user is of the `host` of the site with that name")
	_ = c.RegisterFlagCompletionFunc("host", cobra.NoFileCompletions)
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return c
}

// checkLine is what `policy check --json` prints.
type checkLine struct {
	File      string       `json:"file"`
	OK        bool         `json:"ok"`
	Error     string       `json:"error,omitempty"`
	Rules     int          `json:"rules"`
	Limits    int          `json:"limits"`
	Histories int          `json:"histories"`
	Hosts     int          `json:"hosts,omitempty"`
	Here      *hereLine    `json:"here,omitempty"` // with --host
	May       *verdictLine `json:"may,omitempty"`  // with --uid
}

// hereLine says who a user of another host is on this one.
type hereLine struct {
	Host string `json:"host"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	Rule bool   `json:"rule"` // a [[host]] says so; else it is nobody, unless the broker is told --host-uids same
}

// whoIsHere says who a user of another host is here.
func whoIsHere(p *broker.Policy, host string, there connector.Cred) (connector.Cred, *hereLine) {
	here, ok := p.HostCred(host, there)
	if !ok {
		here = connector.Cred{UID: 65534, GID: 65534}
	}
	return here, &hereLine{Host: host, UID: here.UID, GID: here.GID, Rule: ok}
}

func policyCheck(app *cli.App, file, uid string, gids []string, host string) error {
	if uid == "" && len(gids) > 0 {
		return cli.Usagef("--gid goes with --uid")
	}
	if uid == "" && host != "" {
		return cli.Usagef("--host goes with --uid")
	}
	var who connector.Cred
	var groups []uint32
	if uid != "" {
		var err error
		if who, groups, err = identity(uid, gids); err != nil {
			return err
		}
	}
	p, err := broker.LoadPolicy(file)
	if err != nil {
		if app.JSON {
			if jerr := app.Out.JSON(checkLine{File: file, Error: err.Error()}); jerr != nil {
				return jerr
			}
			return cli.ErrSilent
		}
		return err
	}
	line := checkLine{File: file, OK: true, Rules: len(p.Rules), Limits: len(p.Limits), Histories: len(p.Histories), Hosts: len(p.Hosts)}
	var v broker.Verdict
	switch {
	case uid == "":
	case host != "":
		if _, err := strconv.ParseUint(uid, 10, 32); err != nil {
			return cli.Usagef("--uid %s: of another host the number is wanted, as names are this one's", uid)
		}
		var here connector.Cred
		here, line.Here = whoIsHere(p, host, who)
		v = p.CheckHost(host, here)
		line.May = newVerdictLine(&v)
	default:
		v = p.Check(who, groups)
		line.May = newVerdictLine(&v)
	}
	if app.JSON {
		return app.Out.JSON(line)
	}
	app.Out.Printf("%s: %s: %s, %s, %s\n", file, app.Out.Style.Green("ok"), plural(line.Rules, "rule"), plural(line.Limits, "limit"), plurals(line.Histories, "history", "histories"))
	switch {
	case line.May == nil:
	case line.Here != nil:
		by := "by [[host]]"
		if !line.Here.Rule {
			by = "no [[host]] is for that host: with --host-uids same it would be the same"
		}
		app.Out.Printf("\n%s\n", app.Out.Style.Bold(fmt.Sprintf("uid %d, gid %d of host %s: uid %d, gid %d here (%s)", who.UID, who.GID, host, line.Here.UID, line.Here.GID, by)))
		return printVerdict(app, &v)
	default:
		app.Out.Printf("\n%s\n", app.Out.Style.Bold(fmt.Sprintf("user %s (uid %d), groups %s", cli.User(who.UID), who.UID, joinNumbers(groups))))
		return printVerdict(app, &v)
	}
	return nil
}

// identity is who --uid and --gid name.
func identity(uid string, gids []string) (connector.Cred, []uint32, error) {
	n, err := lookupUID(uid)
	if err != nil {
		return connector.Cred{}, nil, cli.Usagef("--uid: %v", err)
	}
	if len(gids) == 0 {
		u, err := user.LookupId(strconv.FormatUint(uint64(n), 10))
		if err == nil {
			gids = append(gids, u.Gid)
			more, _ := u.GroupIds()
			gids = append(gids, more...)
		}
	}
	var groups []uint32
	seen := map[uint32]bool{}
	for _, g := range gids {
		id, err := lookupGID(g)
		if err != nil {
			return connector.Cred{}, nil, cli.Usagef("--gid: %v", err)
		}
		if !seen[id] {
			seen[id] = true
			groups = append(groups, id)
		}
	}
	who := connector.Cred{UID: n, GID: n}
	if len(groups) > 0 {
		who.GID = groups[0]
	}
	return who, groups, nil
}

func lookupGID(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(n), err
}

func joinNumbers(list []uint32) string {
	if len(list) == 0 {
		return "none"
	}
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(words, " ")
}

func newPolicyShow(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Say what the running broker lets you do",
		Long:  "Ask the broker what its policy lets the calling user do.",
		Example: `  cnbus policy show

  # may I register anything?
  cnbus policy show --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return policyShow(c.Context(), app) },
	}
}

func policyShow(ctx context.Context, app *cli.App) error {
	bus, err := app.Dial(ctx, "cnbus policy")
	if err != nil {
		return err
	}
	defer bus.Close()
	v, err := cli.Query[broker.Verdict](ctx, bus, "policy")
	if err != nil {
		return err
	}
	if app.JSON {
		return app.Out.JSON(newVerdictLine(&v))
	}
	return printVerdict(app, &v)
}
