package rxdebug

import (
	"context"
	"fmt"
	"iter"
	"math"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Conn is a connection of the endpoint.
type Conn struct {
	Peer          netip.AddrPort `json:"peer"`
	Epoch         uint32         `json:"epoch"`
	CID           uint32         `json:"cid"`
	Server        bool           `json:"server"` // the endpoint is the server of it
	Serial        uint32         `json:"serial"` // sent last
	Error         int32          `json:"error"`
	Flags         ConnFlags      `json:"flags"`
	SecurityIndex uint8          `json:"security_index"`
	NatMTU        uint32         `json:"nat_mtu"`
	Calls         [4]Call        `json:"calls"`
	Security      Security       `json:"security"`
}

// Call is the call of a channel.
type Call struct {
	Number uint32    `json:"number"`
	State  CallState `json:"state"`
	Mode   CallMode  `json:"mode"`
	Flags  CallFlags `json:"flags"`
	Input  bool      `json:"input"`  // packets wait for the reader
	Output bool      `json:"output"` // packets wait for the peer
}

// Security is what the security class says of a connection.
type Security struct {
	Class           Class         `json:"class"`
	Level           Level         `json:"level"`
	Flags           SecurityFlags `json:"flags"`
	Expires         time.Time     `json:"expires,omitzero"`
	PacketsReceived uint32        `json:"packets_received"`
	PacketsSent     uint32        `json:"packets_sent"`
	BytesReceived   uint32        `json:"bytes_received"`
	BytesSent       uint32        `json:"bytes_sent"`
}

// Dallying reports whether no call of the connection is in progress.
func (c *Conn) Dallying() bool {
	for _, call := range c.Calls {
		if call.State != NotInitialized && call.State != Dally {
			return false
		}
	}
	return true
}

// Conns asks for the connections, one after the other: all of them, or those that
// somebody waits for or that have a call in progress. Endpoints of a version
// before 'M' tell only the latter. An error is the last value.
func (c *Client) Conns(ctx context.Context, all bool) iter.Seq2[Conn, error] {
	return func(yield func(Conn, error) bool) {
		version, err := c.protocol(ctx)
		if err != nil {
			yield(Conn{}, err)
			return
		}
		t := wire.DebugGetConn
		if all && version.HasAllConns() {
			t = wire.DebugGetAllConn
		}
		for i := range math.MaxInt32 {
			op := fmt.Sprintf("connection %d", i)
			body, err := c.debug(ctx, op, t, i)
			if err != nil {
				yield(Conn{}, err)
				return
			}
			w, err := wire.ParseDebugConn(body, byte(version))
			if err != nil {
				yield(Conn{}, c.failed(op, ErrBadAnswer))
				return
			}
			if w.End() || !yield(newConn(&w), nil) {
				return
			}
		}
	}
}

func newConn(w *wire.DebugConn) Conn {
	c := Conn{
		Peer:  netip.AddrPortFrom(netip.AddrFrom4(w.Host), w.Port),
		Epoch: uint32(w.Epoch), CID: uint32(w.CID), Server: w.Type != wire.DebugClient, Serial: uint32(w.Serial), Error: w.Error,
		Flags: ConnFlags(w.Flags), SecurityIndex: uint8(w.Security), NatMTU: w.NatMTU,
		Security: Security{
			Class: Class(w.Sec.Type), Level: Level(w.Sec.Level), Flags: SecurityFlags(w.Sec.Flags),
			PacketsReceived: w.Sec.PacketsReceived, PacketsSent: w.Sec.PacketsSent,
			BytesReceived: w.Sec.BytesReceived, BytesSent: w.Sec.BytesSent,
		},
	}
	if w.Sec.Expires != 0 {
		c.Security.Expires = time.Unix(int64(w.Sec.Expires), 0).UTC()
	}
	for i := range c.Calls {
		c.Calls[i] = Call{
			Number: uint32(w.Call[i]), State: CallState(w.State[i]), Mode: CallMode(w.Mode[i]), Flags: CallFlags(w.CallFlags[i]),
			Input: w.Other[i]&wire.DebugPacketsIn != 0, Output: w.Other[i]&wire.DebugPacketsOut != 0,
		}
	}
	return c
}
