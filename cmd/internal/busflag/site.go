package busflag

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// Peer adds the broker at socket as another host of the same site.
func (c *Carrier) Peer(socket string, log *slog.Logger) {
	c.Hosts = append(c.hosts(), unixCarrier(socket, log))
}

// hosts are the carriers of the site's hosts, of which a carrier that is no site's is the only one.
func (c *Carrier) hosts() []*Carrier {
	if c.Hosts != nil {
		return c.Hosts
	}
	return []*Carrier{c}
}

// On returns the i-th place of the site's hosts, by turns.
func (c *Carrier) On(i int) *Carrier { return c.hosts()[i%len(c.hosts())] }

// siteNames are the hosts of a site within this process.
var siteNames = []string{"one", "two"}

// leaving is how long a host may take to tell the others that it goes.
const leaving = 5 * time.Second

// siteCarrier starts two brokers within this process that are joined by a NATS server within it. All ids are the site's.
func siteCarrier(ctx context.Context, log *slog.Logger) (_ *Carrier, err error) {
	dir, err := os.MkdirTemp("", "cn-test-")
	if err != nil {
		return nil, err
	}
	var over atomic.Bool
	log = slog.New(until{log.Handler(), &over})
	ends := []func() error{func() error { return os.RemoveAll(dir) }}
	end := func() error {
		over.Store(true) // that a host has left is no news
		var all []error
		for i := range ends {
			all = append(all, ends[len(ends)-1-i]())
		}
		return errors.Join(all...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	server, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "cn-test", Store: filepath.Join(dir, "nats"), Log: log})
	if err != nil {
		return nil, err
	}
	ends = append(ends, func() error { server.Close(); return nil })
	c := &Carrier{Registry: true, Own: true, MaxGroup: 1<<32 - 1}
	for _, name := range siteNames {
		path := filepath.Join(dir, name+".sock")
		b, stop, err := startBroker(path, log)
		if err != nil {
			return nil, err
		}
		ends = append(ends, stop)
		bridge, err := natsbridge.Join(ctx, b, &natsbridge.Config{
			Host: name, Server: server, SameUsers: true, SiteWide: func(cbid.ID) bool { return true }, Log: log,
		})
		if err != nil {
			return nil, err
		}
		ends = append(ends, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), leaving)
			defer cancel()
			return bridge.Close(ctx)
		})
		c.Hosts = append(c.Hosts, unixCarrier(path, log))
		c.Hosts[len(c.Hosts)-1].Where = "host " + name
	}
	c.Where = fmt.Sprintf("a site of %d hosts within this process (%s)", len(siteNames), dir)
	var turn atomic.Uint64
	c.open = func(ctx context.Context, name string) (connector.Bus, error) {
		return c.On(int(turn.Add(1)-1)).Open(ctx, name)
	}
	c.close = end
	return c, nil
}

// until hands on records until it is over.
type until struct {
	slog.Handler
	over *atomic.Bool
}

func (h until) Enabled(ctx context.Context, l slog.Level) bool {
	return !h.over.Load() && h.Handler.Enabled(ctx, l)
}

func (h until) WithAttrs(a []slog.Attr) slog.Handler { return until{h.Handler.WithAttrs(a), h.over} }

func (h until) WithGroup(name string) slog.Handler { return until{h.Handler.WithGroup(name), h.over} }
