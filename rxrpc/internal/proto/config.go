package proto

import (
	"crypto/rand"
	"io"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Config is what an endpoint is made with. The zero value of each field means the
// default that its comment says.
type Config struct {
	// Epoch identifies this run of the endpoint as a client. Default: random, with
	// wire.RandomEpoch set.
	Epoch wire.Epoch
	// Rand is where epoch, connection ids and the secret of hashes come from; default
	// crypto/rand. What a security class needs it reads from a source of its own.
	Rand io.Reader
	// Version is what a VERSION request is answered with, cut to 64 bytes; default "cnbus rxrpc".
	Version string

	Windows Windows
	Timers  Timers
	MTU     MTU
	Limits  Limits
	Debug   Debug
	// Hooks are told what happens; nil for none.
	Hooks *Hooks
}

// Windows are in packets, 1 to 255.
type Windows struct {
	Receive int // advertised, per call; default 255
	Send    int // most in flight, per call, if the peer allows it; default 255
	Queue   int // most packets a call holds that are not acknowledged yet, at most 1024; default 512: a window, and one to follow it
	Initial int // congestion window of a call to a peer that nothing is known of; default 10
}

// Timers are how long things take. A negative value turns the thing off.
type Timers struct {
	HeardNothing time.Duration // of a call: the end; default 20 s (Linux's intention; Timeouts.Normal of a call)
	RequestIdle  time.Duration // of a service call whose request stops arriving; default 60 s (OpenAFS; Linux has 1 s, which kills slow writers)
	Keepalive    time.Duration // PING of a call that has sent nothing; default HeardNothing/6
	DelayedAck   time.Duration // default 100 ms (OpenAFS): below the least RTO of all peers
	FinalAck     time.Duration // of a reply, so that the next call on the channel can replace it; default 20 ms
	LostReply    time.Duration // PING of a client whose request has arrived; default 500 ms (Linux idle_ack_delay)
	MinRTO       time.Duration // default 200 ms
	MaxRTO       time.Duration // default 60 s

	ClientIdle     time.Duration // of a connection without calls; default 120 s
	ClientIdleFast time.Duration // when there are more than Limits.ReapConns; default 2 s
	ServiceIdle    time.Duration // default 600 s
	PeerIdle       time.Duration // what is known of a peer without connections; default 60 s
	NATKeepalive   time.Duration // VERSION packets to peers that connections are open to; default 20 s

	Challenge      time.Duration // between CHALLENGEs to a client that has calls; default 2 s (OpenAFS); negative: only as answers
	ChallengeTries int           // then the connection is aborted; default 50
	Probe          time.Duration // until path MTUs that failed are tried again; default 10 min
}

// MTU says how large datagrams may be.
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

func orDefault[T int | time.Duration | uint32](p *T, d T) {
	if *p == 0 {
		*p = d
	}
}

func within(p *int, lo, hi, d int) {
	orDefault(p, d)
	*p = min(max(*p, lo), hi)
}

func (c Config) withDefaults() Config {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Version == "" {
		c.Version = "cnbus rxrpc"
	}
	if c.Hooks == nil {
		c.Hooks = &Hooks{}
	}
	w := &c.Windows
	within(&w.Receive, 1, 255, 255)
	within(&w.Send, 1, 255, 255)
	within(&w.Queue, 1, maxQueue, 512)
	within(&w.Initial, 1, 255, 10)

	t := &c.Timers
	orDefault(&t.HeardNothing, 20*time.Second)
	orDefault(&t.RequestIdle, 60*time.Second)
	orDefault(&t.Keepalive, t.HeardNothing/6)
	orDefault(&t.DelayedAck, 100*time.Millisecond)
	orDefault(&t.FinalAck, 20*time.Millisecond)
	orDefault(&t.LostReply, 500*time.Millisecond)
	orDefault(&t.MinRTO, 200*time.Millisecond)
	orDefault(&t.MaxRTO, 60*time.Second)
	orDefault(&t.ClientIdle, 120*time.Second)
	orDefault(&t.ClientIdleFast, 2*time.Second)
	orDefault(&t.ServiceIdle, 600*time.Second)
	orDefault(&t.PeerIdle, 60*time.Second)
	orDefault(&t.NATKeepalive, 20*time.Second)
	orDefault(&t.Challenge, 2*time.Second)
	orDefault(&t.ChallengeTries, 50)
	orDefault(&t.Probe, 10*time.Minute)

	m := &c.MTU
	within(&m.Interface, 576, 65535, 1500)
	within(&m.Start, minBody, maxBody, 1200-wire.HeaderSize)
	within(&m.Receive, minBody, maxBody, maxBody)
	within(&m.JumboMax, 1, wire.MaxJumbo, wire.MaxJumbo)

	l := &c.Limits
	orDefault(&l.ClientCalls, 65536)
	orDefault(&l.ServiceCalls, 32768)
	orDefault(&l.CallsPerHost, 16384)
	orDefault(&l.ServiceConns, 32768)
	orDefault(&l.ConnsPerHost, 4096)
	orDefault(&l.ConnsPerBundle, 64)
	orDefault(&l.ReapConns, 900)
	orDefault(&l.Peers, 65536)
	orDefault(&l.HalfOpen, 32768)
	orDefault(&l.HalfOpenBytes, 16<<20)
	orDefault(&l.HeldBytes, 64<<10)
	orDefault(&l.Replies, 1024)
	orDefault(&l.RepliesPerSecond, 1000)
	orDefault(&l.RepliesInAll, 50000)
	return c
}

// reached reports whether n things are as many as the limit allows.
func reached(n, limit int) bool { return limit >= 0 && n >= limit }

// Sizes of packet bodies.
const (
	minBody  = 500 // Linux: the least that a path is believed to have
	maxBody  = MaxDatagram - wire.HeaderSize
	maxQueue = 1024 // packets
)

// MaxDatagram is the longest datagram that Transmit writes: 46 packets.
const MaxDatagram = wire.HeaderSize + wire.JumboData + (wire.MaxJumbo-1)*(wire.JumboData+wire.JumboHeaderSize)
