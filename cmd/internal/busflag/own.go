package busflag

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/connector/broker"
)

// ownBroker starts a broker within this process, at a temporary socket that
// other programs of this user can use meanwhile.
func ownBroker(log *slog.Logger) (*Carrier, error) {
	dir, err := os.MkdirTemp("", "cn-test-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "cnbus.sock")
	b, err := broker.New(&broker.Config{Socket: path, Policy: broker.UserPolicy(), Log: log})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	c := unixCarrier(path, log)
	c.Own = true
	c.Where = fmt.Sprintf("a broker within this process (--socket %s)", path)
	c.close = func() error {
		stop()
		return errors.Join(<-served, os.RemoveAll(dir))
	}
	return c, nil
}
