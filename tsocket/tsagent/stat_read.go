package tsagent

import (
	"context"
	"encoding/json"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// reading is a snapshot of which a port has not read everything yet. It goes with the port.
type reading struct {
	port, uid uint32
	text      []byte
	ctx       context.Context // ends when it is not kept any more
	drop      context.CancelFunc
}

// How many snapshots are kept; who is put off by another one begins again.
const (
	readingPerUID = 8
	mostReading   = 64
)

// keep adds a snapshot to those that are being read. A user does not put off others before there are many of them.
func (a *Agent) keep(p *reading) {
	p.ctx, p.drop = context.WithCancel(a.ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		p.drop()
		return
	}
	same := func(q *reading) bool { return q.uid == p.uid }
	n := 0
	for _, q := range a.reading {
		if same(q) {
			n++
		}
	}
	if i := 0; n >= readingPerUID || len(a.reading) >= mostReading {
		if n > 0 {
			i = slices.IndexFunc(a.reading, same)
		}
		a.reading[i].drop()
		a.reading = slices.Delete(a.reading, i, i+1)
	}
	a.reading = append(a.reading, p)
	a.wg.Go(func() { a.followReader(p) })
}

// followReader drops a snapshot when nobody can ask for the rest of it any more.
func (a *Agent) followReader(p *reading) {
	stop, err := connector.FollowPort(p.ctx, a.bus, p.port, func() { a.forgetReading(p) })
	if err != nil { // on a bus that cannot tell it is there until somebody puts it off
		return
	}
	<-p.ctx.Done()
	stop()
}

// forgetReading drops a snapshot, if it is kept.
func (a *Agent) forgetReading(p *reading) {
	p.drop()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reading = slices.DeleteFunc(a.reading, func(q *reading) bool { return q == p })
}

// readingOf returns what a port is reading; nil: nothing.
func (a *Agent) readingOf(port uint32) *reading {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.reading, func(p *reading) bool { return p.port == port }); i >= 0 {
		return a.reading[i]
	}
	return nil
}

// stat replies with a piece of the Snapshot in JSON, from byte arg; the value is its length. Who begins at 0 gets the pieces of one
// snapshot; ESTALE if it is not there any more.
func (r *request) stat() error {
	a, port, uid := r.a, r.d.From.Port, r.d.From.Cred.UID
	p := a.readingOf(port)
	if p != nil && (r.h.Arg == 0 || p.uid != uid) { // or the port was another's, who is gone
		a.forgetReading(p)
		p = nil
	}
	var text []byte
	switch {
	case p != nil:
		text = p.text
	case r.h.Arg > 0:
		return &Error{syscall.ESTALE, "stat: the snapshot is gone, begin at 0 again"}
	default:
		var err error
		if text, err = json.Marshal(a.Snapshot().seenBy(r.d.From.Cred)); err != nil {
			return err
		}
	}
	if r.h.Arg > uint64(len(text)) {
		return invalid("stat: nothing is there")
	}
	piece := text[r.h.Arg:]
	piece = piece[:min(len(piece), MaxBody)]
	switch last := int(r.h.Arg)+len(piece) == len(text); {
	case last && p != nil:
		a.forgetReading(p)
	case !last && p == nil:
		a.keep(&reading{port: port, uid: uid, text: text})
	}
	r.done(0, uint32(len(text)), piece)
	return nil
}
