package main

import (
	"fmt"
	"strings"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

// verdictLine is what a policy lets somebody do, as JSON. Ids are in the form of
// the policy file: "*", "1:1", "256-511:*".
type verdictLine struct {
	Connect  bool     `json:"connect"`
	Register []string `json:"register"`
	Send     []string `json:"send"`
	Join     []string `json:"join"`
	Publish  []string `json:"publish"`
	Unicast  bool     `json:"unicast"`
	Monitor  bool     `json:"monitor"`
	Admin    bool     `json:"admin"`
	accessLine
	Rules  []string   `json:"rules"` // that apply
	Limits limitsLine `json:"limits"`
}

// accessLine is what the agents of sockets and of RxRPC do for somebody, in the form of the policy file.
type accessLine struct {
	SockConnect []string `json:"sock_connect"`
	SockBind    []string `json:"sock_bind"`
	RxCall      []string `json:"rx_call"`
	RxListen    []string `json:"rx_listen"`
	RxKeys      []string `json:"rx_keys"`
}

// limitsLine are the limits of a user; a negative one is none.
type limitsLine struct {
	Connections   int   `json:"connections"`
	Registrations int   `json:"registrations"`
	Memberships   int   `json:"memberships"`
	Watches       int   `json:"watches"`
	Follows       int   `json:"follows"`
	QueuedBytes   int64 `json:"queued_bytes"`
	HistoryBytes  int64 `json:"history_bytes"`
	Sockets       int   `json:"sockets"`
	SockBytes     int64 `json:"sock_bytes"`
	RxSockets     int   `json:"rx_sockets"`
	RxCalls       int   `json:"rx_calls"`
	RxBytes       int64 `json:"rx_bytes"`
	RxKeys        int   `json:"rx_keys"`
	RxKeyBytes    int64 `json:"rx_key_bytes"`
}

func newVerdictLine(v *broker.Verdict) *verdictLine {
	return &verdictLine{
		Connect: v.Connect, Register: words(v.Register), Send: words(v.Send), Join: words(v.Join), Publish: words(v.Publish),
		Unicast: v.Unicast, Monitor: v.Monitor, Admin: v.Admin, Rules: words(v.Rules), Limits: limitsLine(v.Limits),
		accessLine: accessLine{
			SockConnect: words(v.SockConnect), SockBind: words(v.SockBind),
			RxCall: words(v.RxCall), RxListen: words(v.RxListen), RxKeys: words(v.RxKeys),
		},
	}
}

// words is never null in JSON.
func words(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func printVerdict(app *cli.App, v *broker.Verdict) error {
	s := app.Out.Style
	if !v.Connect {
		app.Out.Printf("  %s\n", s.Red("may not connect: no rule applies"))
		return nil
	}
	yes := func(b bool) string {
		if b {
			return s.Green("yes")
		}
		return "no"
	}
	ids := func(list []string) string {
		switch {
		case len(list) == 0:
			return "nothing"
		case len(list) == 1 && list[0] == "*":
			return "everything"
		}
		return strings.Join(list, ", ")
	}
	limit := func(n int64) string {
		if n < 0 {
			return "no limit"
		}
		return cli.Count(n)
	}
	size := func(n int64) string {
		if n < 0 {
			return "no limit"
		}
		return cli.Bytes(n)
	}
	for _, row := range [][2]string{
		{"register", ids(v.Register)},
		{"send to", ids(v.Send)},
		{"join", ids(v.Join)},
		{"publish to", ids(v.Publish)},
		{"unicast to others", yes(v.Unicast)},
		{"sockets connect to", ids(v.SockConnect)},
		{"sockets bind to", ids(v.SockBind)},
		{"RxRPC calls", ids(v.RxCall)},
		{"RxRPC serves", ids(v.RxListen)},
		{"RxRPC keys", ids(v.RxKeys)},
		{"monitor", yes(v.Monitor)},
		{"administrate", yes(v.Admin)},
		{"by the rules", strings.Join(v.Rules, ", ")},
		{"connections", limit(int64(v.Limits.Connections))},
		{"registrations", limit(int64(v.Limits.Registrations))},
		{"memberships", limit(int64(v.Limits.Memberships))},
		{"watches", limit(int64(v.Limits.Watches))},
		{"follows", limit(int64(v.Limits.Follows))},
		{"queued", size(v.Limits.QueuedBytes)},
		{"history", size(v.Limits.HistoryBytes)},
		{"sockets", limit(int64(v.Limits.Sockets))},
		{"socket windows", size(v.Limits.SockBytes)},
		{"RxRPC sockets", limit(int64(v.Limits.RxSockets))},
		{"RxRPC calls", limit(int64(v.Limits.RxCalls))},
		{"RxRPC data", size(v.Limits.RxBytes)},
		{"RxRPC keys", limit(int64(v.Limits.RxKeys))},
		{"bytes of keys", size(v.Limits.RxKeyBytes)},
	} {
		if _, err := fmt.Fprintf(app.Out, "  %s %s\n", s.Dim(fmt.Sprintf("%-18s", row[0])), row[1]); err != nil {
			return err
		}
	}
	return nil
}

func plurals(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + one
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
