package rxagent

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A pending is a request that is not done yet and that can be given up: by CANCEL, or when its deadline has passed. It is there
// from where the request begins to wait until it is done.
type pending struct {
	o   *owner
	seq uint32
	all bool // it is in owner.pending: requests without a completion cannot be named

	mu     sync.Mutex // guards what follows
	cancel canceller  // nil: it passes from one who waits to the next
	early  []early    // who wants it given up meanwhile: its deadline, and a CANCEL
	timer  *time.Timer
	over   bool
}

// A canceller gives a request up with an errno, and then tells whether it was in time. It does not block.
type canceller func(no syscall.Errno, told func(bool))

type early struct {
	no   syscall.Errno
	told func(bool)
}

// tooLate is of what is done at once, or cannot be undone.
func tooLate(_ syscall.Errno, told func(bool)) { told(false) }

// pend makes r one that can be given up; nil if nobody can want that.
func (o *owner) pend(r *request) *pending {
	if r.p != nil || r.noReply() && r.within == 0 {
		return r.p
	}
	p := &pending{o: o, seq: r.d.Msg.Seq, all: !r.noReply()}
	r.p = p
	if p.all {
		o.mu.Lock()
		o.pending[p.seq] = p
		o.mu.Unlock()
	}
	if r.within > 0 {
		p.mu.Lock()
		p.timer = time.AfterFunc(r.within, func() { p.give(syscall.ETIMEDOUT, func(bool) {}) })
		p.mu.Unlock()
	}
	return p
}

// by has c give the request up from now on; nil: who is next will say how.
func (p *pending) by(c canceller) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.cancel = c
	var wanted []early
	if c != nil && !p.over {
		wanted, p.early = p.early, nil
	}
	p.mu.Unlock()
	for _, w := range wanted {
		c(w.no, w.told)
	}
}

// start is by(nil) for what has its turn; false if it was given up meanwhile.
func (p *pending) start() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel = nil
	return !p.over
}

// give gives the request up. told learns whether that was in time. false: somebody else is about to.
func (p *pending) give(no syscall.Errno, told func(bool)) bool {
	p.mu.Lock()
	c := p.cancel
	if p.over {
		c = tooLate
	}
	if c == nil {
		defer p.mu.Unlock()
		if len(p.early) == 2 {
			return false
		}
		p.early = append(p.early, early{no, told})
		return true
	}
	p.mu.Unlock()
	c(no, told)
	return true
}

// done is told when the request completes: false if it has already.
func (p *pending) done() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	was := p.over
	p.over = true
	wanted := p.early
	p.early = nil
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if was {
		return false
	}
	if p.all {
		p.o.mu.Lock()
		if p.o.pending[p.seq] == p { // or the client has used the number again
			delete(p.o.pending, p.seq)
		}
		p.o.mu.Unlock()
	}
	for _, w := range wanted {
		w.told(false)
	}
	return true
}

// until is the context of what r waits for: it ends with the owner, and when r is given up. over is to be called with how it went; it
// returns that, or with what errno r was given up if that is why it failed.
func (o *owner) until(r *request) (ctx context.Context, over func(error) error) {
	ctx, cancel := context.WithCancel(o.ctx)
	var mu sync.Mutex // guards what follows
	var given early
	ended := false
	r.p.by(func(no syscall.Errno, told func(bool)) {
		mu.Lock()
		late := ended || given.told != nil
		if !late {
			given = early{no, told}
		}
		mu.Unlock()
		if late {
			told(false)
			return
		}
		cancel()
	})
	return ctx, func(err error) error {
		mu.Lock()
		ended = true
		mu.Unlock()
		cancel()
		if given.told == nil {
			return err
		}
		if given.told(err != nil); err != nil {
			err = errno(given.no, err.Error())
		}
		return err
	}
}

// cancelRequest does CANCEL.
func (o *owner) cancelRequest(r *request) {
	if o.cancels.Add(1) > int32(o.most()) {
		o.cancels.Add(-1)
		o.fail(r, errno(syscall.ENOBUFS, "too many requests wait"))
		return
	}
	o.mu.Lock()
	p := o.pending[uint32(r.h.Arg)]
	o.mu.Unlock()
	told := func(cancelled bool) {
		p := rxmsg.Reply{}
		if cancelled {
			p.Value = 1
		}
		o.replies.put(&o.a.wg, 0, func() {
			defer o.cancels.Add(-1) // an answer that is not read counts
			o.answer(r, p, nil, nil)
		})
	}
	if p == nil {
		told(false)
	} else if !p.give(syscall.ECANCELED, told) {
		o.cancels.Add(-1)
		o.fail(r, errno(syscall.EALREADY, "it is being given up"))
	}
}
