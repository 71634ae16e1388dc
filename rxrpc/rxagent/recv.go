package rxagent

import (
	"errors"
	"slices"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// What a noting says of a call.
type noting uint8

const (
	noteOwed   noting = 1 << iota // the owner was told, or is to be, and has not asked
	noteQueued                    // it is in sock.notes
)

// newsOf is BeginParams.Notify: the owner is told, once until it asks by RECV_DATA.
func (k *sock) newsOf(c *rxrpc.KernelCall) {
	if k.newsOfTag(c.UserID()) {
		k.o.news(k)
	}
}

// newsOfTag reports whether the owner has to be told.
func (k *sock) newsOfTag(tag uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.noted[tag]
	if was&noteOwed != 0 {
		return false
	}
	if k.noted == nil {
		k.noted = make(map[uint64]noting)
	}
	k.noted[tag] = noteOwed | noteQueued
	if was&noteQueued == 0 {
		k.notes = append(k.notes, tag)
	}
	return true
}

// note takes the first call that the owner is to be told of; false if there is none.
func (k *sock) note() (tag uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.notes) > 0 {
		tag, k.notes = k.notes[0], k.notes[1:]
		if k.noted[tag]&noteOwed != 0 {
			k.noted[tag] = noteOwed
			return tag, true
		}
		delete(k.noted, tag) // it was asked for
	}
	k.notes = nil
	return 0, false
}

// asked takes down that the owner asks for news. The tag keeps its place in notes: a relay that is blocked must not find it there
// again and again. k.mu is held.
func (k *sock) asked(tag uint64) {
	if k.noted[tag]&noteQueued != 0 {
		k.noted[tag] = noteQueued
	} else {
		delete(k.noted, tag)
	}
}

// unnote forgets a call that was ended; k.mu is held.
func (k *sock) unnote(tag uint64) {
	if k.noted[tag]&noteQueued != 0 {
		i := slices.Index(k.notes, tag)
		k.notes = slices.Delete(k.notes, i, i+1)
	}
	delete(k.noted, tag)
}

// recvData does RECV_DATA.
func (k *sock) recvData(c *rxrpc.KernelCall, tag uint64, body []byte) ([]byte, error) {
	w, err := rxmsg.ParseRecvData(body)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.asked(tag) // before it is read: what comes meanwhile is news
	k.mu.Unlock()
	p := make([]byte, w.Most)
	n, status, err := k.kern.RecvData(c, p, w.More)
	x := rxmsg.Received{Status: uint8(status), Service: c.Peer().Service, Data: p[:n]}
	if err != nil {
		x.Errno, _ = errnoOf(err)
		if why, ok := rxmsg.ReasonOf(err); ok {
			x.How, x.Code, x.Errno = why.How, why.Code, why.Errno
		} else if errors.Is(err, rxrpc.ErrClosed) {
			return nil, err
		}
	}
	return x.Append(make([]byte, 0, rxmsg.MaxBody-rxmsg.MaxReceived+n)), nil
}
