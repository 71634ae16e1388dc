package rxdebug

import (
	"context"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Stats is what every endpoint that speaks the debug protocol tells.
type Stats struct {
	// Protocol is the version of the debug protocol, a letter: 'L' has security
	// statistics, 'M' all connections and RxStats, 'N' Waiting, 'O' IdleThreads,
	// 'Q' peers, 'R' Waited, 'S' Packets.
	Protocol          Letter `json:"protocol"`
	FreePackets       int    `json:"free_packets"`
	Packets           int    `json:"packets"`
	PacketReclaims    int    `json:"packet_reclaims"`
	Calls             int    `json:"calls"` // executed so far
	UsedFDs           int    `json:"used_fds"`
	WaitingForPackets bool   `json:"waiting_for_packets"`
	Waiting           int    `json:"waiting"` // calls that wait for a thread
	IdleThreads       int    `json:"idle_threads"`
	Waited            int    `json:"waited"` // calls that have waited for a thread
}

// Letter is a version of the debug protocol.
type Letter byte

func (l Letter) String() string {
	if l < '!' || l > '~' {
		return "?"
	}
	return string(rune(l))
}

// MarshalText returns the letter.
func (l Letter) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// HasSecurity and the others report what an endpoint of this version tells.
func (l Letter) HasSecurity() bool    { return byte(l) >= wire.DebugVersionSecStats }
func (l Letter) HasAllConns() bool    { return byte(l) >= wire.DebugVersionAllConn }
func (l Letter) HasRxStats() bool     { return byte(l) >= wire.DebugVersionAllConn }
func (l Letter) HasWaiting() bool     { return byte(l) >= wire.DebugVersionWaiters }
func (l Letter) HasIdleThreads() bool { return byte(l) >= wire.DebugVersionIdleThreads }
func (l Letter) HasCbufStats() bool   { return byte(l) >= wire.DebugVersionPacketTypes }
func (l Letter) HasPeers() bool       { return byte(l) >= wire.DebugVersionPeers }
func (l Letter) HasWaited() bool      { return byte(l) >= wire.DebugVersionWaited }
func (l Letter) HasPackets() bool     { return byte(l) >= wire.DebugVersionPackets }

// Stats asks for them.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	const op = "stats"
	body, err := c.debug(ctx, op, wire.DebugGetStats, 0)
	if err != nil {
		return Stats{}, err
	}
	w, err := wire.ParseDebugStats(body)
	if err != nil {
		return Stats{}, c.failed(op, ErrBadAnswer)
	}
	s := Stats{
		Protocol: Letter(w.Version), FreePackets: int(w.FreePackets), Packets: int(w.Packets), PacketReclaims: int(w.PacketReclaims),
		Calls: int(w.CallsExecuted), UsedFDs: int(w.UsedFDs), WaitingForPackets: w.WaitingForPackets != 0,
		Waiting: int(w.Waiting), IdleThreads: int(w.IdleThreads), Waited: int(w.Waited),
	}
	c.stats = &s
	return s, nil
}

// protocol returns the version of the debug protocol, and asks for it if that is
// not known yet.
func (c *Client) protocol(ctx context.Context) (Letter, error) {
	if c.stats == nil {
		if _, err := c.Stats(ctx); err != nil {
			return 0, err
		}
	}
	return c.stats.Protocol, nil
}

// RTT is what an endpoint measured of all its peers.
type RTT struct {
	Samples uint32        `json:"samples"`
	Total   time.Duration `json:"total_ns"`
	Min     time.Duration `json:"min_ns"`
	Max     time.Duration `json:"max_ns"`
}

func duration(t wire.DebugTime) time.Duration {
	return time.Duration(t.Sec)*time.Second + time.Duration(t.Usec)*time.Microsecond
}
