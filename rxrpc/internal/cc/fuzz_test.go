package cc

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// FuzzSender does to a Sender, in any order, whatever a caller and a hostile peer may do, and checks
// after each step what must always hold.
func FuzzSender(f *testing.F) {
	f.Add([]byte{0, 5, 1, 3, 2, 3, 4, 8})
	f.Add([]byte{0, 200, 4, 40, 1, 0, 0x55, 3, 0, 2, 0, 3, 0, 3, 0, 2, 0, 1, 9, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4096 {
			return
		}
		var path Path
		var s Sender
		now, serial, acks := Second, wire.Serial(0xfffffff0), wire.Serial(5)
		s.Reset(&path, now)
		next := func() int {
			if len(in) == 0 {
				return 0
			}
			v := in[0]
			in = in[1:]
			return int(v)
		}
		for len(in) > 0 {
			switch next() % 10 {
			case 0, 1: // send what is offered
				for n := next(); n >= 0; n-- {
					q, again := s.Lost()
					if !again {
						if q = s.Next(); s.Window() == 0 {
							break
						}
					}
					serial++
					s.OnSend(now, Packet{Seq: q, Serial: serial, Size: 1412, Ask: s.WantAck(now, 1, again, n == 0), Last: n == 0})
				}
			case 2, 3: // an ACK that could be
				a := Ack{Serial: acks, For: serial - wire.Serial(next()%16), Reason: wire.AckReason(next() % 11), First: s.Base() + wire.Seq(next()%8)}
				acks += wire.Serial(next()%5) - 1
				for n := next(); n > 0; n-- {
					a.Acks = append(a.Acks, byte(next()))
				}
				s.OnAck(now, a)
			case 4:
				now += Time(next()) * Millisecond
			case 5:
				now += Time(next()) * Second / 8
			case 6:
				s.OnTimer(now)
			case 7:
				s.SetPeerWindow(next() - 3)
				s.SetMore(next()&1 != 0)
			case 8: // what could not be
				s.OnSend(now, Packet{Seq: wire.Seq(next() - 5), Serial: serial, Size: next()})
				s.OnAck(now, Ack{First: wire.Seq(next()) << 25, Acks: make([]byte, next())})
			case 9:
				serial++
				s.OnPing(now, serial)
			}
			invariants(t, &s, now)
		}
		s.OnAckAll(now)
		require.True(t, s.Arrived())
		require.Zero(t, s.Stats().Flight+s.Stats().Lost+s.Stats().Soft)
	})
}

func invariants(t *testing.T, s *Sender, now Time) {
	var n [3]int
	for q := s.base; q != s.next; q++ {
		n[s.at(q).state]++
		if s.at(q).state == lost {
			require.False(t, q.Before(s.lowest), "packet %d is lost and would not be found", q)
		}
	}
	st := s.Stats()
	require.Equal(t, n, [3]int{st.Flight, st.Lost, st.Soft})
	require.True(t, st.Cwnd >= 1 && st.Cwnd <= 2*MaxWindow, "%+v", st)
	require.GreaterOrEqual(t, st.Ssthresh, minSsthresh)
	require.LessOrEqual(t, s.Window()+s.len(), max(MaxWindow, s.len()))
	if st.Flight > 0 {
		due, ok := s.Deadline()
		require.True(t, ok, "packets are under way, and nobody waits for them: %+v", st)
		require.LessOrEqual(t, due, now+2*MaxRTO+Second)
	}
	if st.Lost > 0 && st.Flight == 0 {
		_, ok := s.Lost()
		require.True(t, ok, "nothing is under way, and what is lost is not sent: %+v", st)
	}
	if s.more && s.len() == 0 && s.rwind > 0 {
		require.Positive(t, s.Window(), "nothing keeps it from sending: %+v", st)
	}
	require.LessOrEqual(t, len(s.pkts), 1024)
}

// FuzzMTU feeds a search with anything; the sizes in use stay within what was allowed.
func FuzzMTU(f *testing.F) {
	f.Add(uint16(1500), uint8(46), uint8(28), []byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add(uint16(65535), uint8(2), uint8(48), []byte{6, 255, 46, 0, 0, 1, 1, 0, 0, 1, 5, 3, 4, 9, 9, 2, 40})
	f.Fuzz(func(t *testing.T, ifMTU uint16, jumbo, overhead uint8, in []byte) {
		var m MTU
		m.Reset(MTUConfig{IfMTU: int(ifMTU), MaxJumbo: int(jumbo), Overhead: int(overhead)})
		now, serial := Second, wire.Serial(1)
		most := max(int(ifMTU)-int(overhead)-wire.HeaderSize, MinData)
		if ifMTU == 0 {
			most = 1500
		}
		for len(in) >= 2 {
			v := int(in[1])
			switch in[0] % 8 {
			case 0:
				if size, ok := m.Probe(now); ok {
					require.LessOrEqual(t, size, most)
					require.GreaterOrEqual(t, size, MinData)
					serial++
					m.ProbeSent(now, serial, size)
				}
			case 1:
				m.OnAck(now, serial+wire.Serial(v%3)-1)
			case 2:
				m.TooBig(now, v*40)
			case 3:
				m.Refused(now, v*40)
			case 4:
				m.Progress(now, Progress{Lost: v % 5, LargestLost: v * 60, Arrived: v % 3, Largest: v * 50}, v&1 == 0)
			case 5:
				now += Time(v) * Second
				m.OnTimer(now, Second)
			case 6:
				m.SetPeer(v*300-10, v%50-1)
			case 7:
				now += Time(v) * Millisecond
			}
			in = in[2:]
			require.GreaterOrEqual(t, m.Data(), MinData)
			require.LessOrEqual(t, m.Data(), max(most, MinData))
			require.GreaterOrEqual(t, m.Slots(), 1)
			if n := m.Slots(); n > 1 {
				require.LessOrEqual(t, wire.JumboSize(n), most)
				require.LessOrEqual(t, n, int(jumbo))
			}
		}
	})
}
