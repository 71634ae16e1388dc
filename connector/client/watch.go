package client

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Watcher follows registrations on a connection of its own. It implements
// connector.Watcher.
type Watcher struct {
	bus   *Bus
	s     *stream
	rects []byte
	err   error // final
}

// Watch follows the registrations of the ids in set, all for a nil set.
func (b *Bus) Watch(ctx context.Context, set *cbid.Set) (connector.Watcher, error) {
	if err := b.open(); err != nil {
		return nil, opErr("watch", err)
	}
	w := &Watcher{bus: b, s: newStream(b.cfg)}
	if set != nil {
		rects := set.Rects()
		if len(rects) == 0 {
			rects = []cbid.Rect{{}} // no rectangle at all would mean every id
		}
		w.rects = frame.AppendRects(nil, rects)
		if len(w.rects) > frame.MaxBody {
			return nil, opErr("watch", connector.ErrTooBig)
		}
	}
	err := w.s.dial(ctx, w.request(), w.rects)
	if err == nil {
		err = w.answer(ctx)
	}
	if err != nil {
		w.s.close()
		return nil, opErr("watch", err)
	}
	if err := b.remember(w); err != nil {
		return nil, opErr("watch", err)
	}
	return w, nil
}

func (w *Watcher) request() frame.Header { return frame.Header{Type: frame.Watch} }

// answer reads the broker's answer to the request.
func (w *Watcher) answer(ctx context.Context) error {
	h, body, err := w.s.next(ctx)
	switch {
	case err != nil:
		return err
	case h.Type != frame.Ack || h.Tag != 1:
		return w.s.broke(unexpected(&h))
	}
	w.s.tries = 0
	return refusal(h.Code, body)
}

// Next returns the next change. After a ChangeResync the state is told anew.
func (w *Watcher) Next(ctx context.Context) (connector.Change, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	c, err := w.next(ctx)
	return c, opErr("watch", err)
}

func (w *Watcher) next(ctx context.Context) (c connector.Change, err error) {
	if err := w.s.check(ctx); err != nil {
		return c, err
	}
	if w.err != nil {
		return c, w.err
	}
	for w.s.l == nil {
		if err := w.s.redial(ctx, w.request(), w.rects); err != nil {
			return c, err
		}
		err := w.answer(ctx)
		switch {
		case err == nil, errors.Is(err, connector.ErrInterrupted):
		case w.s.l != nil && w.s.check(ctx) == nil: // refused
			w.err = err
			return c, err
		default:
			// The answer is still to come, but nobody knows which it is.
			if w.s.l != nil {
				_ = w.s.broke(connector.ErrInterrupted)
			}
			return c, err
		}
	}
	h, body, err := w.s.next(ctx)
	if err == nil {
		if c, err = parseChange(&h, body); err != nil {
			err = w.s.broke(err)
		}
	}
	switch {
	case err == nil:
		return c, nil
	case !errors.Is(err, connector.ErrInterrupted) || w.s.closed.Load():
		return connector.Change{}, err
	case w.bus.cfg.Reconnect.Disabled:
		w.err = err
		return connector.Change{}, err
	}
	// What was told so far no longer holds.
	return connector.Change{Kind: connector.ChangeResync}, nil
}

func parseChange(h *frame.Header, body []byte) (c connector.Change, err error) {
	if h.Type != frame.Change || h.Tag != 1 {
		return c, unexpected(h)
	}
	kind := connector.ChangeKind(h.Code)
	switch kind {
	case connector.ChangeMarker, connector.ChangeResync:
		return connector.Change{Kind: kind}, nil
	case connector.ChangePresent, connector.ChangeAdded, connector.ChangeRemoved, connector.ChangeUnknown:
	default:
		return c, violation("change of kind %d", h.Code)
	}
	id, name, err := frame.ParseNamed(body)
	if err != nil {
		return c, violation("%w", err)
	}
	return connector.Change{Kind: kind, Info: connector.IDInfo{
		ID: id, Name: name, Group: h.Group, Port: h.Port,
		Owner: connector.Cred{UID: h.UID, GID: h.GID, PID: h.PID}, Unknown: h.Flags&frame.FlagUnknown != 0,
	}}, nil
}

// Close ends the watch; a blocked Next returns ErrClosed.
func (w *Watcher) Close() error {
	w.s.close()
	w.bus.forget(w)
	return nil
}
