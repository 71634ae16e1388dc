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
	_, stop, err := startBroker(path, log)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := unixCarrier(path, log)
	c.Own = true
	c.Where = fmt.Sprintf("a broker within this process (--socket %s)", path)
	c.close = func() error { return errors.Join(stop(), os.RemoveAll(dir)) }
	return c, nil
}

// startBroker starts a broker at the socket path, which stop ends.
func startBroker(path string, log *slog.Logger) (b *broker.Broker, stop func() error, err error) {
	if b, err = broker.New(&broker.Config{Socket: path, Policy: broker.UserPolicy(), Log: log}); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	return b, func() error {
		cancel()
		return <-served
	}, nil
}
