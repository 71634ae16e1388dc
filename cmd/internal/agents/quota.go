package agents

import (
	"math"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// sockQuota is what the policy says of the tsocket agent's limits, by the names that it has for them.
type sockQuota struct{ q Quota }

// Limits implements tsagent.Quota.
func (s sockQuota) Limits(uid uint32) tsagent.Limits {
	l := s.q.Limits(uid)
	return tsagent.Limits{Sockets: l.Sockets, Bytes: l.SockBytes}
}

// Exceeded implements tsagent.Quota.
func (s sockQuota) Exceeded(cred connector.Cred, what string, limit int64) {
	if what == "bytes" {
		what = "sock_bytes"
	}
	s.q.Exceeded(cred, what, limit)
}

// rxQuota is that of the RxRPC agent and its keys.
type rxQuota struct{ q Quota }

// Limits implements rxagent.Quota.
func (r rxQuota) Limits(uid uint32) rxagent.UserLimits {
	l := r.q.Limits(uid)
	return rxagent.UserLimits{Sockets: l.RxSockets, Calls: l.RxCalls, Bytes: l.RxBytes}
}

// Exceeded implements rxagent.Quota.
func (r rxQuota) Exceeded(cred connector.Cred, what string, limit int64) {
	r.q.Exceeded(cred, "rx_"+what, limit)
}

func (r rxQuota) keys(uid uint32) (keys, bytes int) {
	l := r.q.Limits(uid)
	return l.RxKeys, int(min(l.RxKeyBytes, math.MaxInt32))
}
