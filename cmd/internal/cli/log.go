package cli

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// level is the level that the flags ask for; def without any.
func (a *App) level(def slog.Level) (slog.Level, error) {
	var l slog.Level
	switch {
	case a.LogLevel != "":
		if err := l.UnmarshalText([]byte(a.LogLevel)); err != nil {
			return l, Usagef("--log-level %q: debug, info, warn or error", a.LogLevel)
		}
		return l, nil
	case a.Quiet:
		return slog.LevelError, nil
	case a.Verbose:
		return slog.LevelDebug, nil
	}
	return def, nil
}

// Log returns the logger that the flags ask for, to stderr, and makes it the
// default one. def is the level without flags.
func (a *App) Log(def slog.Level) *slog.Logger {
	level, err := a.level(def)
	if err != nil {
		level = def // check has refused it
	}
	l := slog.New(logHandler(a.Err, a.LogFormat, level))
	slog.SetDefault(l)
	return l
}

func logHandler(w io.Writer, format string, level slog.Level) slog.Handler {
	switch {
	case format == "json":
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	case IsTerminal(w):
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !styleOf(w).On()})
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: dropTime()})
}

// dropTime leaves the time to the journal where the lines go there.
func dropTime() func([]string, slog.Attr) slog.Attr {
	if os.Getenv("JOURNAL_STREAM") == "" {
		return nil
	}
	return func(groups []string, at slog.Attr) slog.Attr {
		if at.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return at
	}
}
