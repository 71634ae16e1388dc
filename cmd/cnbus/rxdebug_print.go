package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc/rxdebug"
)

// print prints a line of JSON, or as many lines of text as rxdebug does, each
// with the same words: scripts look for them.
func (d *rxDebug) print(l rxDebugLine) error {
	out := d.app.Out
	switch {
	case d.app.JSON:
		return out.JSON(l)
	case l.Stats != nil:
		d.printStats(l.Stats)
	case l.Conn != nil:
		d.printConn(l.Conn)
	case l.Peer != nil:
		d.printPeer(l.Peer)
	default:
		out.Printf("AFS version: %s\n", l.Version)
	}
	return nil
}

func (d *rxDebug) printStats(s *rxdebug.Stats) {
	packets, not := fmt.Sprint(s.FreePackets), "not "
	if s.Protocol.HasPackets() {
		packets += fmt.Sprintf("/%d", s.Packets)
	}
	if s.WaitingForPackets {
		not = ""
	}
	out := d.app.Out
	out.Printf("Free packets: %s, packet reclaims: %d, calls: %d, used FDs: %d\n", packets, s.PacketReclaims, s.Calls, s.UsedFDs)
	out.Printf("%swaiting for packets.\n", not)
	if s.Protocol.HasWaiting() {
		out.Printf("%d calls waiting for a thread\n", s.Waiting)
	}
	if s.Protocol.HasIdleThreads() {
		out.Printf("%d threads are idle\n", s.IdleThreads)
	}
	if s.Protocol.HasWaited() {
		out.Printf("%d calls have waited for a thread\n", s.Waited)
	}
}

func (d *rxDebug) printRxStats(stats rxdebug.Stats, s rxdebug.RxStats) {
	receive, send := fmt.Sprint(s.ReceiveAllocFailures), fmt.Sprint(s.SendAllocFailures)
	if stats.Protocol.HasCbufStats() {
		receive += fmt.Sprintf("/%d", s.ReceiveCbufFailures)
		send += fmt.Sprintf("/%d", s.SendCbufFailures)
	}
	host := s.BogusHost.As4()
	out := d.app.Out
	out.Printf("rx stats: free packets %d, allocs %d, alloc-failures(rcv %s,send %s,ack %d)\n",
		stats.FreePackets, s.PacketRequests, receive, send, s.SpecialAllocFailures)
	out.Printf("   greedy %d, bogusReads %d (last from host %s), noPackets %d, noBuffers %d, selects %d, sendSelects %d\n",
		s.SocketGreedy, s.BogusPackets, hexNumber(host), s.NoPacketOnRead, s.NoBuffersOnRead, s.Selects, s.SendSelects)
	out.Printf("   packets read: %s\n", byType(s.PacketsRead))
	out.Printf("   other read counters: data %d, ack %d, dup %d spurious %d dally %d\n",
		s.DataRead, s.AcksRead, s.DuplicatesRead, s.SpuriousRead, s.DallyIgnored)
	out.Printf("   packets sent: %s\n", byType(s.PacketsSent))
	out.Printf("   other send counters: ack %d, data %d (not resends), resends %d, pushed %d, acked&ignored %d\n",
		s.AcksSent, s.DataSent, s.DataResent, s.DataPushed, s.AckedIgnored)
	out.Printf("   \t(these should be small) sendFailed %d, fatalErrors %d\n", s.SendFailures, int32(s.FatalErrors))
	if s.RTT.Samples > 0 {
		out.Printf("   Average rtt is %.3f, with %d samples\n", s.RTT.Total.Seconds()/float64(s.RTT.Samples), s.RTT.Samples)
		out.Printf("   Minimum rtt is %.3f, maximum is %.3f\n", s.RTT.Min.Seconds(), s.RTT.Max.Seconds())
	}
	out.Printf("   %d server connections, %d client connections, %d peer structs, %d call structs, %d free call structs\n",
		s.ServerConns, s.ClientConns, s.Peers, s.Calls, s.FreeCalls)
}

// hexNumber is an address as C prints it that takes it for a number.
func hexNumber(a [4]byte) string {
	return fmt.Sprintf("%x", uint32(a[0])<<24|uint32(a[1])<<16|uint32(a[2])<<8|uint32(a[3]))
}

func byType(counts [len(rxdebug.PacketTypes)]uint32) string {
	var b strings.Builder
	for i, n := range counts {
		fmt.Fprintf(&b, "%s %d ", rxdebug.PacketTypes[i], n)
	}
	return b.String()
}

func (d *rxDebug) printFilters() {
	if d.app.JSON {
		return
	}
	out := d.app.Out
	if d.onlyServer {
		out.Printf("Showing only server connections\n")
	}
	if d.onlyClient {
		out.Printf("Showing only client connections\n")
	}
	if level := d.onlyAuth; level != "" {
		if level == "none" {
			level = "unauthenticated"
		}
		out.Printf("Showing only %s connections\n", level)
	}
	if d.onlyHost.IsValid() {
		out.Printf("Showing only connections from host %v\n", d.onlyHost)
	}
	if d.onlyPort != 0 {
		out.Printf("Showing only connections on port %d\n", d.onlyPort)
	}
}

func (d *rxDebug) printConn(c *rxdebug.Conn) {
	out := d.app.Out
	out.Printf("Connection from host %v, port %d, ", c.Peer.Addr(), c.Peer.Port())
	if c.Epoch != 0 {
		out.Printf("Cuid %x/%x", c.Epoch, c.CID)
	} else {
		out.Printf("cid %x", c.CID)
	}
	if c.Error != 0 {
		out.Printf(", error %d", c.Error)
	}
	out.Printf("\n  serial %d,  natMTU %d, ", int32(c.Serial), int32(c.NatMTU))
	if c.Flags != 0 {
		out.Printf("flags%s, ", list(c.Flags.Names()))
	}
	side := "client"
	if c.Server {
		side = "server"
	}
	out.Printf("security index %d, %s conn\n", c.SecurityIndex, side)
	if d.protocol.HasSecurity() {
		d.printSecurity(c)
	}
	for i := range c.Calls {
		d.printCall(i, &c.Calls[i])
	}
}

// list is the names, each after a space.
func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " " + strings.Join(names, " ")
}

func (d *rxDebug) printSecurity(c *rxdebug.Conn) {
	out, s := d.app.Out, &c.Security
	switch s.Class {
	case rxdebug.ClassUnknown:
		if c.SecurityIndex == 2 {
			out.Printf("  no GetStats procedure for security object\n")
		}
	case rxdebug.ClassNull, rxdebug.ClassVAB:
		out.Printf("  %v level=%d, flags=%d\n", s.Class, uint8(s.Level), uint32(s.Flags))
	case rxdebug.ClassRxKAD, rxdebug.ClassRxGK:
		out.Printf("  %v: level %v", s.Class, s.Level)
		if s.Flags != 0 {
			out.Printf(", flags%s", list(s.Flags.Names()))
		}
		if !s.Expires.IsZero() {
			out.Printf(", expires in %.1f hours", s.Expires.Sub(d.now()).Truncate(time.Second).Hours())
		}
		if s.Flags&rxdebug.NoData == 0 {
			out.Printf("\n  Received %d bytes in %d packets\n", s.BytesReceived, s.PacketsReceived)
			out.Printf("  Sent %d bytes in %d packets", s.BytesSent, s.PacketsSent)
		}
		out.Printf("\n")
	default:
		out.Printf("  unknown\n")
	}
}

func (d *rxDebug) printCall(channel int, c *rxdebug.Call) {
	out := d.app.Out
	out.Printf("    call %d: # %d, state %v", channel, int32(c.Number), c.State)
	if c.State != rxdebug.NotInitialized {
		out.Printf(", mode: %v", c.Mode)
		if c.Flags != 0 {
			out.Printf(", flags:%s", list(c.Flags.Names()))
		}
		if c.Input {
			out.Printf(", has_input_packets")
		}
		if c.Output {
			out.Printf(", has_output_packets")
		}
	}
	out.Printf("\n")
}

func (d *rxDebug) printPeer(p *rxdebug.Peer) {
	out := d.app.Out
	out.Printf("Peer at host %v, port %d\n", p.Addr.Addr(), p.Addr.Port())
	out.Printf("\tifMTU %d\tnatMTU %d\tmaxMTU %d\n", p.IfMTU, p.NatMTU, p.MaxMTU)
	out.Printf("\tpackets sent %d\tpacket resends %d\n", p.PacketsSent, p.PacketsResent)
	out.Printf("\tbytes sent high %d low %d\n", p.BytesSent>>32, uint32(p.BytesSent))
	out.Printf("\tbytes received high %d low %d\n", p.BytesReceived>>32, uint32(p.BytesReceived))
	out.Printf("\trtt %d msec, rtt_dev %d msec\n", p.RTT.Milliseconds(), p.RTTDeviation.Milliseconds())
	out.Printf("\ttimeout %d.%03d sec\n", p.Timeout/time.Second, p.Timeout%time.Second/time.Millisecond)
	if !d.long {
		return
	}
	out.Printf("\tin/out packet skew: %d/%d\n", p.InSkew, p.OutSkew)
	out.Printf("\tcongestion window %d, MTU %d\n", p.CongestionWnd, p.MTU)
	out.Printf("\tcurrent/if/max jumbogram size: %d/%d/%d\n", p.DgramPackets, p.IfDgramPackets, p.MaxDgramPackets)
}
