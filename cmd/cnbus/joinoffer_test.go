package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/connector"
)

// An agent that the site cannot be told of at present is offered again, until that is done, refused for good, or not wanted any more.
func TestOffersAreMadeAgain(t *testing.T) {
	away := fmt.Errorf("proc agent: %w", connector.ErrInterrupted)
	for name, c := range map[string]struct {
		errs  []error // of the attempts; none after them is waited for
		stop  bool    // before the last
		calls int
		log   string
	}{
		"at once":           {[]error{nil}, false, 1, ""},
		"the site is away":  {[]error{away, away, away, nil}, false, 4, "process events are not offered to the site yet, trying again"},
		"refused":           {[]error{away, connector.ErrPermission}, false, 2, "process events stay on this host"},
		"the agent is gone": {[]error{away, connector.ErrClosed}, false, 2, ""},
		"the broker stops":  {[]error{away, away, away}, true, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var text bytes.Buffer
				calls := 0
				offer{"process events", func(_ context.Context, host uint32, name string) error {
					assert.Equal(t, uint32(7), host)
					assert.Equal(t, "seven", name)
					err := c.errs[calls]
					if calls++; c.stop && calls == len(c.errs)-1 {
						cancel()
					}
					return err
				}}.make(ctx, 7, "seven", slog.New(slog.NewTextHandler(&text, nil)))
				assert.Equal(t, c.calls, calls)
				assert.Contains(t, text.String(), c.log)
				assert.LessOrEqual(t, strings.Count(text.String(), "trying again"), 1)
			})
		})
	}
}
