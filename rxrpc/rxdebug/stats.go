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

// String returns the letter, "?" if it is none.
func (l Letter) String() string {
	if l < '!' || l > '~' {
		return "?"
	}
	return string(rune(l))
}

// MarshalText returns the letter.
func (l Letter) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// What an endpoint of this version tells. The letters are those of OpenAFS's rx.h, RX_DEBUGI_VERSION_W_*.

// HasSecurity reports whether connections tell what their security class knows ('L').
func (l Letter) HasSecurity() bool { return byte(l) >= wire.DebugVersionSecStats }

// HasAllConns reports whether all connections can be asked for, not only those in use ('M').
func (l Letter) HasAllConns() bool { return byte(l) >= wire.DebugVersionAllConn }

// HasRxStats reports whether there are RxStats ('M').
func (l Letter) HasRxStats() bool { return byte(l) >= wire.DebugVersionAllConn }

// HasWaiting reports whether Stats.Waiting is told ('N').
func (l Letter) HasWaiting() bool { return byte(l) >= wire.DebugVersionWaiters }

// HasIdleThreads reports whether Stats.IdleThreads is told ('O').
func (l Letter) HasIdleThreads() bool { return byte(l) >= wire.DebugVersionIdleThreads }

// HasCbufStats reports whether RxStats tell of failures to get continuation buffers ('P').
func (l Letter) HasCbufStats() bool { return byte(l) >= wire.DebugVersionPacketTypes }

// HasPeers reports whether peers can be asked for ('Q').
func (l Letter) HasPeers() bool { return byte(l) >= wire.DebugVersionPeers }

// HasWaited reports whether Stats.Waited is told ('R').
func (l Letter) HasWaited() bool { return byte(l) >= wire.DebugVersionWaited }

// HasPackets reports whether Stats.Packets is told ('S').
func (l Letter) HasPackets() bool { return byte(l) >= wire.DebugVersionPackets }

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
