package procevent

import (
	"fmt"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// Config says what a Client receives and how. A zero field means its default.
type Config struct {
	// Kinds are the events wanted; 0 means all. A mask is given to the kernel where it knows
	// masks (6.6), and applied again here. It makes the counters of the CPUs
	// useless (Ledger.Gaps); Ledger.Drops stays exact.
	Kinds Mask

	// ReadBuffer is the size of the kernel's buffer at first, MaxReadBuffer the size
	// it is made to grow to as it overruns, in bytes as the kernel counts: 832 for an event.
	// Without CAP_NET_ADMIN the system's limit (net.core.rmem_max, doubled) holds; Ledger
	// says what came of it. Defaults 4 MiB and 64 MiB; negative: the system's
	// default, and no growth.
	ReadBuffer, MaxReadBuffer int

	// Queue is how many events are kept in this process for Recv before the kernel's
	// buffer is left to fill. Default 8192.
	Queue int

	// Batch is how many events one system call may bring. Default 64.
	Batch int

	// Probe is the time between two probes, by which the subscription makes
	// sure that it still exists. Default 15 s; negative: none, nor after an overrun.
	Probe time.Duration

	// AckTimeout is how long the kernel's answer is waited for. Default 1 s.
	AckTimeout time.Duration

	// Enrich says what of /proc is wanted with each event; see Info.
	Enrich Enrich

	// NetNS is the network namespace to dial in, as nlconn.SocketConfig has it. Only the
	// initial one has process events.
	NetNS string
}

func (c *Config) withDefaults() (Config, error) {
	var d Config
	if c != nil {
		d = *c
	}
	if bad := Mask(d.Kinds) &^ (All | Mask(NonzeroExit)); bad != 0 {
		return d, &connector.OpError{Op: "dial", ID: ID, HasID: true, Err: fmt.Errorf("mask %#x has bits of no event: %#x: %w", uint32(d.Kinds), uint32(bad), connector.ErrInvalid)}
	}
	if d.Queue < 0 || d.Batch < 0 || d.AckTimeout < 0 {
		return d, &connector.OpError{Op: "dial", ID: ID, HasID: true, Err: fmt.Errorf("negative size or time: %w", connector.ErrInvalid)}
	}
	def(&d.ReadBuffer, 4<<20)
	def(&d.MaxReadBuffer, 64<<20)
	d.ReadBuffer, d.MaxReadBuffer = max(d.ReadBuffer, 0), max(d.MaxReadBuffer, 0)
	def(&d.Queue, 8192)
	def(&d.Batch, 64)
	def(&d.Probe, 15*time.Second)
	def(&d.AckTimeout, time.Second)
	d.Enrich = d.Enrich.withDefaults()
	return d, nil
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
