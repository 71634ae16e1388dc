package bussock

import (
	"log/slog"
	"time"
)

// Config is how a Node works. nil, and the zero value of each field, mean the default.
type Config struct {
	// Window is how many bytes of a stream may be on their way, or wait to be read: default 256 KiB, at least 4 KiB. A stream that
	// is not read takes that much memory at most, a stream that is idle none.
	Window int

	// Sockets is how many streams there may be at a time; default 65536. Further ones are refused by EMFILE.
	Sockets int

	// Linger is how long Close waits until the bus has taken what was written; default 1 s, negative not at all.
	Linger time.Duration

	// Logger is told, at level Debug, of peers that do not keep to the protocol; default none.
	Logger *slog.Logger
}

const (
	defaultWindow  = 256 << 10
	leastWindow    = 4 << 10
	mostWindow     = 1 << 30
	defaultSockets = 1 << 16
	defaultLinger  = time.Second
)

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Window <= 0 {
		d.Window = defaultWindow
	}
	d.Window = min(max(d.Window, leastWindow), mostWindow)
	if d.Sockets <= 0 {
		d.Sockets = defaultSockets
	}
	if d.Linger == 0 {
		d.Linger = defaultLinger
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}
