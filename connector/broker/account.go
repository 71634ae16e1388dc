package broker

import "fmt"

// Limits bound what the connections of one uid may hold together. A zero field
// means the default given with it; a negative one means no limit.
type Limits struct {
	Connections   int   `toml:"connections" json:"connections"`     // 8192
	Registrations int   `toml:"registrations" json:"registrations"` // 65536
	Memberships   int   `toml:"memberships" json:"memberships"`     // 65536
	Watches       int   `toml:"watches" json:"watches"`             // 1024 watches and notification requests
	Follows       int   `toml:"follows" json:"follows"`             // 65536 ports whose end is awaited
	QueuedBytes   int64 `toml:"queued_bytes" json:"queued_bytes"`   // 512 MiB waiting for the uid's clients
	HistoryBytes  int64 `toml:"history_bytes" json:"history_bytes"` // 256 MiB of histories set by the uid

	// Of the agents in the broker's process, which ask by Broker.Limits.
	Sockets    int   `toml:"sockets" json:"sockets"`           // 4096 of the tsocket agent
	SockBytes  int64 `toml:"sock_bytes" json:"sock_bytes"`     // 256 MiB of their windows
	RxSockets  int   `toml:"rx_sockets" json:"rx_sockets"`     // 1024 of the RxRPC agent
	RxCalls    int   `toml:"rx_calls" json:"rx_calls"`         // 16384 at a time, of its clients' sockets
	RxBytes    int64 `toml:"rx_bytes" json:"rx_bytes"`         // 256 MiB that wait to be sent in calls
	RxKeys     int   `toml:"rx_keys" json:"rx_keys"`           // 200 keys and keyrings; root has no such limit
	RxKeyBytes int64 `toml:"rx_key_bytes" json:"rx_key_bytes"` // 20000 of what is in them; likewise
}

// withDefaults fills in the zero fields.
func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def64 := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Connections, 8192)
	def(&l.Registrations, 65536)
	def(&l.Memberships, 65536)
	def(&l.Watches, 1024)
	def(&l.Follows, 65536)
	def64(&l.QueuedBytes, 512<<20)
	def64(&l.HistoryBytes, 256<<20)
	def(&l.Sockets, 4096)
	def64(&l.SockBytes, 256<<20)
	def(&l.RxSockets, 1024)
	def(&l.RxCalls, 16384)
	def64(&l.RxBytes, 256<<20)
	def(&l.RxKeys, 200)
	def64(&l.RxKeyBytes, 20000)
	return l
}

// account is what one uid uses of its limits.
type account struct {
	uid    uint32
	limits Limits

	conns    int
	proxies  int // clients of other hosts
	regs     int
	members  int
	watches  int
	follows  int
	queued   int64
	history  int64
	exceeded map[string]uint64 // by limit, how often
}

// exceed counts a refusal and returns the words for the log and the peer.
func (a *account) exceed(what string, limit int64) string {
	if a.exceeded == nil {
		a.exceeded = make(map[string]uint64)
	}
	a.exceeded[what]++
	return limitText(a.uid, what, limit)
}

func limitText(uid uint32, what string, limit int64) string {
	return fmt.Sprintf("uid %d has reached its limit of %d %s", uid, limit, what)
}

// take adds one to *n unless that exceeds limit; why then says who exceeded what.
func (a *account) take(n *int, limit int, what string) (why string) {
	if limit >= 0 && *n >= limit {
		return a.exceed(what, int64(limit))
	}
	*n++
	return ""
}
