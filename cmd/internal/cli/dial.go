package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// Dial connects to the broker that the flags name, for something that is soon
// over: a connection that breaks is an error. name is what `cnbus ls` shows of this program.
func (a *App) Dial(ctx context.Context, name string) (*client.Bus, error) {
	return a.DialConfig(ctx, &client.Config{Name: name, Reconnect: client.Reconnect{Disabled: true}})
}

// DialLive is Dial for what goes on for ever: it connects again by itself.
func (a *App) DialLive(ctx context.Context, name string) (*client.Bus, error) {
	return a.DialConfig(ctx, &client.Config{Name: name})
}

// DialConfig is Dial with all wishes.
func (a *App) DialConfig(ctx context.Context, cfg *client.Config) (*client.Bus, error) {
	cfg.Socket = a.SocketPath()
	cfg.Logger = a.Log(slog.LevelWarn)
	if err := OverTLS(cfg); err != nil {
		return nil, err
	}
	b, err := client.Dial(ctx, cfg)
	if err != nil && NoBroker(err) {
		err = &noBrokerError{at: cfg.Socket, err: err}
	}
	return b, err
}

// SocketPath is the socket that the user named by flag or environment, "" for
// the usual places.
func (a *App) SocketPath() string {
	if a.Socket != "" {
		return a.Socket
	}
	return os.Getenv(EnvSocket)
}

// NoBroker reports whether err of a dial says that nobody serves there.
func NoBroker(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, connector.ErrNotFound)
}

type noBrokerError struct {
	at  string
	err error
}

func (e *noBrokerError) Error() string {
	if e.at == "" {
		return "no broker is running; start one with: cnbus serve"
	}
	return "no broker answers at " + e.at + "; start one with: cnbus serve --socket " + e.at
}

func (e *noBrokerError) Unwrap() error { return e.err }

// Query asks the broker and decodes its answer into a value.
func Query[T any](ctx context.Context, b *client.Bus, what string) (T, error) {
	var v T
	raw, err := b.Query(ctx, what)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("the broker's answer to %q: %w", what, err)
	}
	return v, nil
}

// Owner is an owner for people: user, process and program.
func Owner(o broker.Owner) string {
	return OwnerOf(connector.Cred{UID: o.UID, GID: o.GID, PID: o.PID}, o.Name)
}

// OwnerOf is Owner from credentials; name may be empty.
func OwnerOf(c connector.Cred, name string) string {
	s := User(c.UID) + " pid " + strconv.FormatUint(uint64(c.PID), 10)
	if name != "" {
		s += " (" + name + ")"
	}
	return s
}
