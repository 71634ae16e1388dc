// Package busflag opens a connector bus that is named by a string, so that one
// test tool works on every carrier:
//
//	loopback:      within this process
//	unix:PATH      the broker at that socket
//	unix:          the broker at one of the usual places
//	netlink:       real netlink, NETLINK_CONNECTOR of this network namespace
//	site:          two brokers within this process, joined through NATS
//	(empty)        the broker at one of the usual places, or else one started within this process
package busflag

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
)

// Usage is the help of the flag.
const Usage = "`carrier`: loopback:, unix:PATH, netlink: or site: (default: the broker that is found, else one within this process)"

// Names are the forms of the string, for completion.
var Names = []string{"loopback:", "unix:", "netlink:", "site:"}

// Carrier is an open carrier. Each call of Open gives another place on it, as another
// process would have.
type Carrier struct {
	// Where says for people what it is.
	Where string

	// Registry is false where nobody keeps a list of ids: no notification.
	Registry bool

	// Own says that it is within this process: no agents are there unless they are started.
	Own bool

	// MaxGroup is the highest group number.
	MaxGroup uint32

	// Hosts are the carriers of a site's hosts, for On; nil: it is no site.
	Hosts []*Carrier

	open  func(ctx context.Context, name string) (connector.Bus, error)
	close func() error
}

// Open returns a new place on the bus; name is for people.
func (c *Carrier) Open(ctx context.Context, name string) (connector.Bus, error) {
	return c.open(ctx, name)
}

// Close ends what Open started besides the buses, which must be closed before.
func (c *Carrier) Close() error {
	if c.close == nil {
		return nil
	}
	return c.close()
}

// Open opens the carrier that spec names. socket is a broker's socket that was
// named otherwise (--socket, CNBUS_SOCKET), for specs that name none.
func Open(ctx context.Context, spec, socket string, log *slog.Logger) (*Carrier, error) {
	kind, rest, found := strings.Cut(spec, ":")
	switch {
	case spec == "":
		return foundOrOwn(ctx, socket, log)
	case !found:
	case kind == "unix":
		if rest == "" {
			rest = socket
		}
		return unixCarrier(rest, log), nil
	case kind == "loopback" && rest == "":
		return loopbackCarrier(log), nil
	case kind == "netlink" && rest == "":
		return netlinkCarrier(log), nil
	case kind == "site" && rest == "":
		return siteCarrier(ctx, log)
	}
	return nil, cli.Usagef("--bus %q: loopback:, unix:PATH, netlink: or site: is wanted", spec)
}

func loopbackCarrier(log *slog.Logger) *Carrier {
	hub := loopback.New(&loopback.Config{Log: log})
	return &Carrier{
		Where: "loopback within this process", Registry: true, Own: true, MaxGroup: 1<<32 - 1,
		open: func(context.Context, string) (connector.Bus, error) { return hub.Open(), nil },
	}
}

func unixCarrier(socket string, log *slog.Logger) *Carrier {
	where := "the broker at " + socket
	if socket == "" {
		where = "the broker that was found"
	}
	return &Carrier{
		Where: where, Registry: true, MaxGroup: 1<<32 - 1,
		open: func(ctx context.Context, name string) (connector.Bus, error) {
			cfg := &client.Config{Socket: socket, Name: name, Logger: log}
			if err := cli.OverTLS(cfg); err != nil {
				return nil, err
			}
			b, err := client.Dial(ctx, cfg)
			if err != nil { // not b, whose nil would be no nil
				if cli.NoBroker(err) {
					err = fmt.Errorf("%s does not answer: %w", where, err)
				}
				return nil, err
			}
			return b, nil
		},
	}
}

// foundOrOwn looks for a broker and starts one if there is none. One that was
// named and does not answer is an error.
func foundOrOwn(ctx context.Context, socket string, log *slog.Logger) (*Carrier, error) {
	c := unixCarrier(socket, log)
	b, err := c.open(ctx, "cn-test")
	if err == nil {
		return c, b.Close()
	}
	if socket != "" || !cli.NoBroker(err) {
		return nil, err
	}
	return ownBroker(log)
}
