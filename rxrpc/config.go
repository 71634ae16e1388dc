package rxrpc

import (
	"log/slog"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// Config is how an Endpoint is made. nil, and the zero value of each field, mean
// the default that its comment says.
type Config struct {
	Windows Windows
	Timers  Timers
	MTU     MTU
	Limits  Limits
	Debug   Debug

	// Version is what a VERSION request is answered with, cut to 64 bytes; default "cnbus rxrpc".
	Version string

	// ReceiveBuffer and SendBuffer are asked of the kernel for the UDP socket, in bytes; default
	// 4 MiB each. It may give less (net.core.rmem_max, wmem_max).
	ReceiveBuffer, SendBuffer int

	// Retain is how long an endpoint of Shared stays open after its last user
	// has closed it; default 10 s, negative: not at all.
	Retain time.Duration

	// Later, if it is set, runs fn a moment later, when what was ready to be done by then has been done, on a goroutine of its choice; it
	// does not wait for that, and returns false if it never will. An application with a loop of its own has what was wanted in one
	// turn leave together at its end. nil: a goroutine of the endpoint does that.
	Later func(fn func()) bool

	// Hooks are told what happens; nil: nobody.
	Hooks *Hooks
	// Logger gets a record, at level Debug, of each connection and of each call that fails; at level
	// Warn of what goes wrong with the socket. nil: none.
	Logger *slog.Logger
}

// Windows are in packets, 1 to 255.
type Windows struct {
	Receive int // advertised, per call; default 255
	Send    int // most in flight, per call, if the peer allows it; default 255
	Queue   int // most packets a call holds that are not acknowledged yet, at most 256; default 256
	Initial int // congestion window of a call to a peer that nothing is known of; default 10
}

// Timers are how long things take. A negative value turns the thing off.
type Timers struct {
	HeardNothing time.Duration // of a call: its end; default 20 s
	RequestIdle  time.Duration // of a service call whose request stops arriving; default 60 s
	Keepalive    time.Duration // PING of a call that has sent nothing; default HeardNothing/6
	DelayedAck   time.Duration // default 100 ms
	FinalAck     time.Duration // of a reply, so that the next call on the channel can replace it; default 20 ms
	LostReply    time.Duration // PING of a client whose request has arrived; default 500 ms
	MinRTO       time.Duration // least retransmission time-out; default 200 ms
	MaxRTO       time.Duration // default 60 s

	ClientIdle     time.Duration // of a connection without calls: it is retained so long, to be used again; default 120 s
	ClientIdleFast time.Duration // when there are more than Limits.ReapConns; default 2 s
	ServiceIdle    time.Duration // of a connection that a client has made; default 600 s
	PeerIdle       time.Duration // what is known of a peer without connections; default 60 s
	NATKeepalive   time.Duration // VERSION packets to peers that connections are open to; default 20 s

	Challenge      time.Duration // between CHALLENGEs to a client that has calls; default 2 s; negative: only as answers to what it sends
	ChallengeTries int           // then the connection is aborted; default 50
	Probe          time.Duration // between searches for a larger path MTU; default 10 min
}

// MTU says how large packets may be.
type MTU struct {
	Interface int  // of the interface, in bytes of IP packet; default 1500
	Start     int  // what a packet may have after the Rx header of 28 before a probe says more; default 1172 (datagrams of 1200 bytes)
	Receive   int  // advertised as the most that is accepted after the Rx header; default 65132, 46 packets in a datagram
	JumboMax  int  // packets in a datagram sent; default 46
	NoJumbo   bool // sends no jumbo datagrams, whatever the path allows
	NoProbe   bool // does not search for the path's MTU: Start is it, and there are no jumbo datagrams
}

// Limits bound what peers and applications can make the endpoint hold. A negative
// value is no limit.
type Limits struct {
	ClientCalls      int // running, default 65536
	ServiceCalls     int // running, default 32768
	CallsPerHost     int // service calls of one address, default 16384
	ServiceConns     int // default 32768; at the limit the one that is idle longest goes
	ConnsPerHost     int // service connections of one address, default 4096
	ConnsPerBundle   int // default 64: 256 calls of one kind to one peer at a time, others wait
	ReapConns        int // client connections above which idle ones go fast, default 900
	Peers            int // that something is remembered of, default 65536
	HalfOpen         int // service connections whose clients have yet to prove themselves, which count for none of the others, default 32768; at the limit the oldest goes, as of one address at ConnsPerHost
	HalfOpenBytes    int // of packets that they hold, default 16 MiB; at the limit those of the oldest go
	HeldBytes        int // the same of each of them, default 64 KiB
	Replies          int // prepared answers to packets of no call, default 1024
	RepliesPerSecond int // ABORT, BUSY, CHALLENGE and, of which each counts five, VERSION and DEBUG to one address; default 1000
	RepliesInAll     int // the same to all addresses, default 50000
}

// Debug says what of an endpoint anybody may ask.
type Debug struct {
	NoVersion bool // VERSION requests are not answered
	NoDebug   bool // DEBUG requests (rxdebug) are not answered
	NoConns   bool // DEBUG requests that list connections and peers are answered as if there were none
}

// Timeouts of a call; 0 is what the endpoint's Timers say, negative is none.
type Timeouts struct {
	Hard   time.Duration // from the beginning of the call to its end; default none
	Idle   time.Duration // of a request that stops arriving: Timers.RequestIdle
	Normal time.Duration // without a sign of the peer: Timers.HeardNothing
}

const (
	defaultBuffer = 4 << 20
	defaultRetain = 10 * time.Second
)

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	for _, b := range []*int{&d.ReceiveBuffer, &d.SendBuffer} {
		if *b == 0 {
			*b = defaultBuffer
		}
	}
	if d.Retain == 0 {
		d.Retain = defaultRetain
	}
	return d
}

// proto is the part of c that the protocol is made with.
func (c *Config) proto() proto.Config {
	return proto.Config{
		Version: c.Version,
		Windows: proto.Windows(c.Windows),
		Timers:  proto.Timers(c.Timers),
		MTU:     proto.MTU(c.MTU),
		Limits:  proto.Limits(c.Limits),
		Debug:   proto.Debug(c.Debug),
	}
}
