package wire

import "testing"

// What a packet costs on its way in and out, without the socket.
func BenchmarkPacket(b *testing.B) {
	h := Header{Epoch: 1 << 31, CID: 4, Call: 1, Seq: 1, Serial: 1, Type: TypeData, Flags: ClientInitiated, Service: 52}
	data := append(h.Append(nil), make([]byte, JumboData)...)
	acked := make([]byte, MaxSoftAcks)
	ack := Ack{First: 1, Acks: acked, Trailer: AckTrailer{Words: 4}}
	h.Type = TypeAck
	ackPacket := ack.Append(h.Append(nil))
	buf := make([]byte, 0, 1<<16)
	full := make([]byte, JumboData)
	var j Joiner
	jumbo := func(n int) []byte {
		j.Reset(buf[:0])
		h := Header{Type: TypeData, Call: 1, Seq: 1, Serial: 1, Service: 1}
		for range n {
			if err := j.Add(h, full); err != nil {
				b.Fatal(err)
			}
			h.Seq++
			h.Serial++
		}
		return j.Bytes()
	}
	six := append([]byte(nil), jumbo(6)...)

	for _, c := range []struct {
		name string
		run  func()
	}{
		{"screen", func() { Screen(data) }},
		{"header", func() { h.Append(buf) }},
		{"parse ack of 255", func() {
			_, body, _ := Screen(ackPacket)
			a, _ := ParseAck(body)
			a.Missing()
		}},
		{"append ack of 255", func() { ack.Append(buf) }},
		{"split 6", func() {
			h, body, _ := ParseHeader(six)
			s, _ := SplitData(h, body)
			for {
				if _, _, ok := s.Next(); !ok {
					break
				}
			}
		}},
		{"join 6", func() { jumbo(6) }},
		{"trace", func() { AppendText(buf, ackPacket) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.run()
			}
		})
	}
}
