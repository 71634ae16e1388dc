package rxrpc

import (
	"context"
	"log/slog"
	"net/netip"
	"syscall"
)

// logger is what an endpoint writes to, if somebody wants it.
type logger struct{ l *slog.Logger }

func (g logger) on() bool { return g.l != nil && g.l.Enabled(context.Background(), slog.LevelDebug) }

func (g logger) conn(msg string, i ConnInfo, why string) {
	if !g.on() {
		return
	}
	attrs := []slog.Attr{
		slog.String("peer", i.Peer.String()), slog.Int("service", int(i.Service)), slog.Bool("client", i.Client),
		slog.Uint64("epoch", uint64(i.Epoch)), slog.Uint64("cid", uint64(i.CID)),
	}
	if why != "" {
		attrs = append(attrs, slog.String("why", why))
	}
	g.l.LogAttrs(context.Background(), slog.LevelDebug, msg, attrs...)
}

func (g logger) call(peer netip.AddrPort, service uint16, client bool, err error) {
	if err == nil || !g.on() {
		return
	}
	g.l.LogAttrs(context.Background(), slog.LevelDebug, "call failed", slog.String("peer", peer.String()),
		slog.Int("service", int(service)), slog.Bool("client", client), slog.Any("err", err))
}

func (g logger) sendFailed(to netip.AddrPort, errno syscall.Errno) {
	// A packet that is too large is how a path's MTU is found.
	if g.l != nil && errno != syscall.EMSGSIZE {
		g.l.LogAttrs(context.Background(), slog.LevelWarn, "datagram not sent", slog.String("peer", to.String()), slog.Any("err", errno))
	}
}

func (g logger) receiveFailed(err error) {
	if g.l != nil {
		g.l.LogAttrs(context.Background(), slog.LevelWarn, "receive failed", slog.Any("err", err))
	}
}

func (g logger) panicked(service uint16, peer netip.AddrPort, what any, stack []byte) {
	if g.l != nil {
		g.l.LogAttrs(context.Background(), slog.LevelError, "handler panicked", slog.Int("service", int(service)),
			slog.String("peer", peer.String()), slog.Any("panic", what), slog.String("stack", string(stack)))
	}
}
