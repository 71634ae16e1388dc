package rxagent

import (
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
)

// A user is what the clients of one uid have together. It is there as long as there are any.
type user struct {
	owners, sockets int // guarded by Agent.mu
	calls           atomic.Int64
	bytes           atomic.Int64 // posted, not taken yet
}

// userOf returns the user; a.mu is held.
func (a *Agent) userOf(uid uint32) *user {
	u := a.users[uid]
	if u == nil {
		u = new(user)
		a.users[uid] = u
	}
	return u
}

// limits are those of a user.
func (a *Agent) limits(uid uint32) UserLimits {
	if a.cfg.Quota != nil {
		return a.cfg.Quota.Limits(uid)
	}
	return UserLimits{Sockets: a.cfg.Limits.UserSockets, Calls: a.cfg.Limits.UserCalls, Bytes: -1}
}

func (o *owner) limits() UserLimits { return o.a.limits(o.from.Cred.UID) }

// atMost is the lesser of two limits, of which the second may be none.
func atMost(n, limit int) uint32 {
	if limit >= 0 {
		n = min(n, limit)
	}
	return uint32(min(n, math.MaxInt32))
}

// exceeded tells the quota of a refusal, and is what the client is told.
func (o *owner) exceeded(no syscall.Errno, what string, limit int64) error {
	if q := o.a.cfg.Quota; q != nil {
		q.Exceeded(o.from.Cred, what, limit)
	}
	return errno(no, fmt.Sprintf("user %d has %d %s, which is the limit", o.from.Cred.UID, limit, what))
}

// addSocket makes room for a socket.
func (o *owner) addSocket() error {
	a := o.a
	o.mu.Lock()
	n := len(o.socks) + o.closing
	o.mu.Unlock()
	if n >= a.cfg.Limits.Sockets {
		return errno(syscall.EMFILE, fmt.Sprintf("port %d has %d sockets, which is the limit", o.from.Port, n))
	}
	most := o.limits().Sockets
	a.mu.Lock()
	full := most >= 0 && o.user.sockets >= most
	if !full {
		o.user.sockets++
	}
	a.mu.Unlock()
	if full {
		return o.exceeded(syscall.EMFILE, "sockets", int64(most))
	}
	return nil
}

func (o *owner) dropSocket() {
	o.a.mu.Lock()
	defer o.a.mu.Unlock()
	o.user.sockets--
}

// addBytes makes room for data that wait for the endpoint; dropBytes takes them away.
func (o *owner) addBytes(n int64) error {
	if most := o.a.cfg.Limits.Bytes; o.bytes.Add(n) > most {
		o.bytes.Add(-n)
		return errno(syscall.ENOBUFS, fmt.Sprintf("%d bytes of port %d wait to be sent, which is the limit", most, o.from.Port))
	}
	if most := o.limits().Bytes; o.user.bytes.Add(n) > most && most >= 0 {
		o.dropBytes(n)
		return o.exceeded(syscall.ENOBUFS, "bytes", most)
	}
	return nil
}

func (o *owner) dropBytes(n int64) {
	o.bytes.Add(-n)
	o.user.bytes.Add(-n)
}

// callQuota counts the calls of a user: rxrpc.SocketConfig.Calls.
type callQuota struct{ o *owner }

// Take implements rxrpc.CallQuota.
func (q callQuota) Take() error {
	if most := int64(q.o.limits().Calls); q.o.user.calls.Add(1) > most && most >= 0 {
		q.Give()
		return q.o.exceeded(syscall.ENOBUFS, "calls", most)
	}
	return nil
}

// Give implements rxrpc.CallQuota.
func (q callQuota) Give() { q.o.user.calls.Add(-1) }
