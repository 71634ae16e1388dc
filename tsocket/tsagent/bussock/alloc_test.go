//go:build !race

package bussock_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// In steady state neither end of a stream allocates, nor does a batch of datagrams.
func TestAllocates(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			n, m := node(t, x, nil), node(t, y, nil)
			a, b := pair(t, n, m)
			ctx := context.Background()
			there, back := make([]byte, 1024), make([]byte, 1024)
			trip := func() {
				if _, err := a.Writev(ctx, there); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Readv(ctx, back); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Writev(ctx, back); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Readv(ctx, there); err != nil {
					t.Fatal(err)
				}
			}
			much := make([]byte, 32<<10)
			bulk := func() {
				if _, err := a.Writev(ctx, much); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Readv(ctx, much[:16<<10], much[16<<10:]); err != nil {
					t.Fatal(err)
				}
			}
			d, err := n.Dgram(nil)
			require.NoError(t, err)
			e, err := m.Dgram(&bussock.DgramConfig{Wait: true})
			require.NoError(t, err)
			out, in := make([]tsocket.Message, 10), make([]tsocket.Message, 16)
			for i := range out {
				out[i] = tsocket.Message{Data: there[:100], Addr: e.LocalAddr()}
			}
			batch := func() {
				if _, err := d.SendBatch(ctx, out); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < len(out); {
					k, err := e.RecvBatch(ctx, in)
					if err != nil {
						t.Fatal(err)
					}
					got += k
				}
			}
			for what, f := range map[string]func(){"trip": trip, "bulk": bulk, "batch": batch} {
				for range 100 {
					f()
				}
				// The pools may lose something to a collection.
				assert.Less(t, testing.AllocsPerRun(500, f), 0.5, what)
			}
		})
	}
}
