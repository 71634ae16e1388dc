package rxagent

import (
	"errors"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// newsOf is BeginParams.Notify: the owner is told, once until it asks by RECV_DATA.
func (k *sock) newsOf(c *rxrpc.KernelCall) {
	tag := c.UserID()
	k.mu.Lock()
	told := k.noted[tag]
	if !told {
		if k.noted == nil {
			k.noted = make(map[uint64]bool)
		}
		k.noted[tag] = true
		k.notes = append(k.notes, tag)
	}
	k.mu.Unlock()
	if !told {
		k.o.news(k)
	}
}

// note takes the first call that the owner is to be told of; false if there is none.
func (k *sock) note() (tag uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.notes) > 0 {
		tag, k.notes = k.notes[0], k.notes[1:]
		if k.noted[tag] { // or it was ended, or asked for
			return tag, true
		}
	}
	k.notes = nil
	return 0, false
}

// recvData does RECV_DATA.
func (k *sock) recvData(c *rxrpc.KernelCall, tag uint64, body []byte) ([]byte, error) {
	w, err := rxmsg.ParseRecvData(body)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	delete(k.noted, tag) // before it is read: what comes meanwhile is news
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
