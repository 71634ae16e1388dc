package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// onHost names the host of the site whose agent is used; "" is this one.
type onHost string

func (f *onHost) register(c *cobra.Command) {
	c.PersistentFlags().StringVar((*string)(f), "on", "", "by the agent of this `host` of the site, a name or number of 'cnbus hosts' (docs/hosts.md)")
	_ = c.RegisterFlagCompletionFunc("on", cobra.NoFileCompletions)
}

// number finds the host's number; 0 is this host.
func (f onHost) number(ctx context.Context, bus connector.Bus) (uint32, error) {
	if f == "" {
		return 0, nil
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return 0, err
	}
	defer ep.Close()
	rows, err := natsbridge.QueryHosts(ctx, ep)
	if errors.Is(err, connector.ErrNoID) {
		return 0, notJoined(err)
	}
	if err != nil {
		return 0, err
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		if names[i] = r.Name; r.Name != string(f) && strconv.Itoa(int(r.Number)) != string(f) {
			continue
		}
		if i == 0 { // the first is this one
			return 0, nil
		}
		return r.Number, nil
	}
	return 0, fmt.Errorf("--on %s: no such host in the site, which has %s: %w", string(f), strings.Join(names, ", "), connector.ErrInvalid)
}

// missing says of an id that nobody has what that means.
func (f onHost) missing(err error, host uint32, what string) error {
	if host != 0 && errors.Is(err, connector.ErrNoID) {
		return fmt.Errorf("host %s offers no %s agent to the site ('cnbus serve --site-agents'), or is gone: %w", string(f), what, err)
	}
	return agentMissing(err, what)
}
