package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// sockStatLine is what the agent of sockets counted, as JSON.
type sockStatLine struct {
	Sockets      int    `json:"sockets"`
	Owners       int    `json:"owners"`
	Opened       uint64 `json:"opened"`
	Requests     uint64 `json:"requests"`
	Failed       uint64 `json:"failed"`
	Denied       uint64 `json:"denied"`
	Events       uint64 `json:"events"`
	BytesIn      uint64 `json:"bytes_in"`
	BytesOut     uint64 `json:"bytes_out"`
	DatagramsIn  uint64 `json:"datagrams_in"`
	DatagramsOut uint64 `json:"datagrams_out"`
}

// rxStatLine is what the RxRPC agent has, as far as the caller may see it, as JSON.
type rxStatLine struct {
	Sockets int `json:"sockets"`
	Calls   int `json:"calls"`
	Conns   int `json:"conns"`
	Peers   int `json:"peers"`
}

func newSockStatLine(s *tsagent.Stats) *sockStatLine {
	return &sockStatLine{
		Sockets: s.Sockets, Owners: s.Owners, Opened: s.Opened, Requests: s.Requests, Failed: s.Failed, Denied: s.Denied, Events: s.Events,
		BytesIn: s.BytesIn, BytesOut: s.BytesOut, DatagramsIn: s.DatagramsIn, DatagramsOut: s.DatagramsOut,
	}
}

// queryAgents asks the agents, as far as there are any, and as the caller may ask them.
func queryAgents(ctx context.Context, bus *client.Bus, s *statLine) error {
	rows, err := cli.Query[[]broker.IDRow](ctx, bus, "ids")
	if err != nil {
		return err
	}
	there := make(map[cbid.ID]bool)
	for i := range rows {
		there[rows[i].ID] = true
	}
	if there[cbid.TSocket] {
		if err := querySock(ctx, bus, s); err != nil {
			return err
		}
	}
	if there[cbid.RxRPC] {
		return queryRx(ctx, bus, s)
	}
	return nil
}

func querySock(ctx context.Context, bus *client.Bus, s *statLine) error {
	sock, err := askSock(ctx, bus, "")
	switch {
	case err == nil:
		s.Sock = newSockStatLine(&sock.Stats)
	case !noAgent(err):
		return err
	}
	return nil
}

func queryRx(ctx context.Context, bus *client.Bus, s *statLine) error {
	var r rxStatLine
	for what, n := range map[string]*int{"sockets": &r.Sockets, "calls": &r.Calls, "conns": &r.Conns, "peers": &r.Peers} {
		rows, err := askRx[json.RawMessage](ctx, bus, "", what)
		switch {
		case noAgent(err):
			return nil
		case err != nil:
			return err
		}
		*n = len(rows)
	}
	s.Rx = &r
	return nil
}

// noAgent reports whether err says that there is no such agent for the caller.
func noAgent(err error) bool {
	return errors.Is(err, connector.ErrNoID) || errors.Is(err, connector.ErrPermission) || errors.Is(err, connector.ErrAgentGone)
}

// agentRows are the lines for people.
func agentRows(s *statLine, row func(name, format string, args ...any)) {
	if k := s.Sock; k != nil {
		denied := ""
		if k.Denied > 0 {
			denied = fmt.Sprintf(", %s denied by the policy", cli.Count(k.Denied))
		}
		row("sockets", "%d of %s, %s opened, %s in, %s out%s", k.Sockets, plural(k.Owners, "client"), cli.Count(k.Opened), cli.Bytes(k.BytesIn), cli.Bytes(k.BytesOut), denied)
	}
	if k := s.Rx; k != nil {
		row("RxRPC", "%s, %s, %s, %s", plural(k.Sockets, "socket"), plural(k.Calls, "call"), plural(k.Conns, "connection"), plural(k.Peers, "peer"))
	}
}
