package tsbench

import (
	"context"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// newCase makes the two sides of a case.
type newCase func(b *bench) (ours, rival side, err error)

// cases are all there are, by the name of their row.
var cases = map[string]newCase{
	"pingpong-unix":     blocking("unix"),
	"pingpong-tcp":      blocking("tcp"),
	"cancellable-unix":  limited("unix"),
	"requests-unix":     requests("unix"),
	"requests-tcp":      requests("tcp"),
	"callbacks-unix":    callbacks("unix"),
	"callbacks-tcp":     callbacks("tcp"),
	"reactor-unix":      watched("unix"),
	"reactor-tcp":       watched("tcp"),
	"attached-unix":     attached("unix"),
	"pdu-owned-unix":    owned("unix"),
	"pdu-owned-tcp":     owned("tcp"),
	"pdu-borrowed-unix": borrowed("unix"),
	"pdu-borrowed-tcp":  borrowed("tcp"),
	"pingpong-udp":      datagrams,
	"udp-receive":       receiveOne,
	"udp-receive-batch": receiveBatch(false),
	"udp-receive-gro":   receiveBatch(true),
	"udp-send":          sendOne,
	"udp-send-batch":    sendBatch(2, batchSize),
	"udp-send-gso":      sendBatch(1, floodPiece),
	"allocs":            allocations,
}

// Suite is the tsocket suite. The rows with a wanted ratio are those that the
// project promises; the others inform.
func Suite() harness.Suite {
	const (
		unix      = "64 bytes there and back, unix socketpair"
		tcp       = "64 bytes there and back, TCP"
		inline    = "net.Conn"
		spawn     = "goroutine for each read, net.Conn"
		owned     = "1 KiB PDUs, each in memory of its own, "
		borrowed  = "1 KiB PDUs, borrowed, "
		full      = "bufio of 64 KiB, io.ReadFull"
		peek      = "bufio of 64 KiB, Peek and Discard"
		readFrom  = "ReadFromUDPAddrPort"
		writeTo   = "WriteToUDPAddrPort"
		onePinned = ", all on one CPU"
		batches   = "UDP send, 1200 bytes, batches, to two receivers in turn"
	)
	row := func(name, what, against string, want float64) harness.Row {
		return harness.Row{Name: name, What: what, Against: against, Unit: "us", Want: want}
	}
	return harness.Suite{Name: "tsocket", Experiments: []harness.Experiment{
		compare(row("pingpong-unix", unix+", blocking", inline, 1/1.05), setting{}),
		compare(row("pingpong-tcp", tcp+", blocking", inline, 1/1.05), setting{}),
		compare(row("pingpong-unix-pinned", unix+", blocking"+onePinned, inline, 0), setting{name: "pingpong-unix", pin: true}),
		compare(row("cancellable-unix", unix+", blocking, can be cancelled", "net.Conn, SetDeadline before each", 0), setting{}),
		compare(row("requests-unix", unix+", requests, waited for", spawn+", channel", 2), setting{}),
		compare(row("requests-tcp", tcp+", requests, waited for", spawn+", channel", 2), setting{}),
		compare(row("requests-unix-pinned", unix+", requests, waited for"+onePinned, spawn+", channel", 0), setting{name: "requests-unix", pin: true}),
		compare(row("callbacks-unix", unix+", requests, callbacks", spawn, 2), setting{}),
		compare(row("callbacks-tcp", tcp+", requests, callbacks", spawn, 2), setting{}),
		compare(row("callbacks-unix-pinned", unix+", requests, callbacks"+onePinned, spawn, 0), setting{name: "callbacks-unix", pin: true}),
		compare(row("reactor-unix", unix+", reactor", inline, 1/0.8), setting{}),
		compare(row("reactor-tcp", tcp+", reactor", inline, 1/0.8), setting{}),
		compare(row("reactor-unix-pinned", unix+", reactor"+onePinned, inline, 0), setting{name: "reactor-unix", pin: true}),
		compare(row("attached-unix", unix+", requests, callbacks on a reactor", inline, 0), setting{}),
		compare(row("pdu-owned-unix", owned+"unix", full, 1), setting{}),
		compare(row("pdu-owned-tcp", owned+"TCP", full, 1), setting{}),
		compare(row("pdu-borrowed-unix", borrowed+"unix", peek, 1/1.1), setting{}),
		compare(row("pdu-borrowed-tcp", borrowed+"TCP", peek, 1/1.1), setting{}),
		compare(row("pingpong-udp", "64 bytes there and back, UDP, blocking", readFrom+", "+writeTo, 0), setting{}),
		compare(row("udp-receive", "UDP receive, 1200 bytes, one at a time", readFrom, 1/1.05), setting{udp: true}),
		compare(row("udp-receive-batch", "UDP receive, 1200 bytes, batches", readFrom, 1.2), setting{udp: true}),
		compare(row("udp-receive-gro", "UDP receive, 1200 bytes, batches, GRO", readFrom, 5), setting{udp: true}),
		compare(row("udp-send", "UDP send, 1200 bytes, one at a time"+onePinned, writeTo, 0), setting{udp: true, pin: true}),
		compare(row("udp-send-batch", batches+onePinned, writeTo, 1.3), setting{udp: true, pin: true}),
		compare(row("udp-send-batch-apart", batches+", the receivers on the other CPU", writeTo, 0), setting{name: "udp-send-batch", udp: true}),
		compare(row("udp-send-gso", "UDP send, 1200 bytes, batches, GSO"+onePinned, writeTo, 10), setting{udp: true, pin: true}),
		compare(harness.Row{
			Name: "allocs", What: "allocations of all blocking operations in turn, waiting and not",
			Against: "none", Unit: "allocs", Want: 1,
		}, setting{allocs: true}),
	}}
}

// setting says how a row is measured.
type setting struct {
	name   string // of the case; "": that of the row
	pin    bool   // both processes to one CPU
	udp    bool   // it needs Linux
	allocs bool   // allocations are counted; there is no rival
}

func compare(row harness.Row, s setting) harness.Experiment {
	if s.name == "" {
		s.name = row.Name
	}
	if !s.allocs {
		row.What = "CPU: " + row.What
	}
	return harness.Experiment{
		Cheap: true,
		Rows:  []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			if (s.pin || s.udp) && !linux {
				return nil, &harness.Missing{What: "Linux"}
			}
			return openMeter(ctx, env, s)
		},
	}
}
