package wire

import (
	"bytes"
	"testing"
)

// The corpora in testdata/fuzz have packets of the captures and what fuzzing
// found worth keeping.

// Whatever arrives: nothing panics, what is accepted is parsed, what was parsed
// means the same after another round, and a trace is one line.
func FuzzPacket(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		h, body, s := Screen(b)
		if line := AppendText(nil, b); len(line) == 0 || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("trace %q", line)
		}
		if len(b) < HeaderSize {
			if s.Verdict != Discard || body != nil {
				t.Fatalf("%d bytes: %v", len(b), s)
			}
			return
		}
		if len(body) != len(b)-HeaderSize {
			t.Fatalf("body of %d bytes in a packet of %d", len(body), len(b))
		}
		if (s.Verdict == Reject) != (s.Code != 0) || s.Verdict == Reject && h.Type == TypeAbort {
			t.Fatalf("%v of %v", s, h.Type)
		}
		again, _, err := ParseHeader(h.Append(nil))
		h.Flags &= sendableFlags
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
		if once, err := reencode(b); err == nil {
			twice, err := reencode(once)
			if err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("%x became %x, %v", once, twice, err)
			}
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the datagram was changed")
		}
	})
}

// An ACK keeps its meaning, is never longer than what it was made of but for the
// zeros that must be there, and its limits stay within bounds.
func FuzzAck(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := ParseAck(body)
		if err != nil {
			return
		}
		if AckFixedSize+len(a.Acks)+4*a.Trailer.Words+a.Padding > len(body) {
			t.Fatalf("%+v of %d bytes", a, len(body))
		}
		out := a.Append(nil)
		if len(out) != a.Size() || len(out) > len(body)+ackPadSize {
			t.Fatalf("%d bytes became %d, said to be %d", len(body), len(out), a.Size())
		}
		b, err := ParseAck(out)
		if err != nil || b.Missing() != a.Missing() || b.Trailer != a.Trailer || b.Padding != a.Padding || b.First != a.First {
			t.Fatalf("%+v became %+v, %v", a, b, err)
		}
		l, d := ClampTrailer(a.Trailer), DefaultBounds
		if l.MaxMTU < d.MinMTU || l.MaxMTU > d.MaxMTU || l.IfMTU < d.MinMTU || l.IfMTU > d.MaxMTU ||
			l.Window < 1 || l.Window > d.MaxWindow || l.Jumbo < 1 || l.Jumbo > d.MaxJumbo {
			t.Fatalf("%+v", l)
		}
	})
}

// The packets of a DATA datagram are all there is in it, in order, and joined
// they are the datagram again.
func FuzzJumbo(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := ParseHeader(b)
		if err != nil {
			return
		}
		h.Type = TypeData
		s, err := SplitData(h, body)
		if err != nil {
			if _, _, ok := s.Next(); ok || s.Len() != 0 {
				t.Fatal("a packet of a malformed datagram")
			}
			return
		}
		var j Joiner
		j.Reset(nil)
		n, size := s.Len(), 0
		for i := range n {
			p, data, ok := s.Next()
			if !ok || p.Seq != h.Seq.Add(i) || p.Serial != h.Serial.Add(i) || p.FromClient() != h.FromClient() {
				t.Fatalf("packet %d of %d: %v %+v", i, n, ok, p)
			}
			if p.Flags.Has(JumboPacket) != (i < n-1) {
				t.Fatalf("packet %d of %d: flags %v", i, n, p.Flags)
			}
			size += len(data)
			if err := j.Add(p, data); err != nil {
				t.Fatalf("packet %d of %d: %v", i, n, err)
			}
		}
		if _, _, ok := s.Next(); ok || size+(n-1)*JumboHeaderSize != len(body) || j.Size() != len(b) {
			t.Fatalf("%d packets, %d bytes of data of %d, joined %d of %d", n, size, len(body), j.Size(), len(b))
		}
	})
}

// Records of any version and length give what today's version can say.
func FuzzDebug(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		if r, err := ParseDebugRequest(body); err == nil {
			if again, err := ParseDebugRequest(r.Append(nil)); err != nil || again != r {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if s, err := ParseDebugStats(body); err == nil {
			b := s.Append(nil)
			if again, err := ParseDebugStats(b); err != nil || again != s || len(b) != DebugStatsSize {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
		if c, err := ParseDebugConn(body, version); err == nil {
			b := c.Append(nil)
			if again, err := ParseDebugConn(b, DebugVersion); err != nil || again != c || len(b) != DebugConnSize {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
			c.Interesting()
		}
		if p, err := ParseDebugPeer(body); err == nil {
			b := p.Append(nil)
			if again, err := ParseDebugPeer(b); err != nil || again != p || len(b) != DebugPeerSize {
				t.Fatalf("%+v became %+v, %v", p, again, err)
			}
		}
		if s, err := ParseRxStats(body); err == nil {
			b := s.Append(nil)
			if again, err := ParseRxStats(b); err != nil || again != s || len(b) != RxStatsSize {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}

// A version is text that a terminal can show, and survives being sent on.
func FuzzVersion(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := ParseVersion(body)
		if err != nil {
			return
		}
		for _, c := range []byte(text) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q", text)
			}
		}
		b := AppendVersion(nil, text)
		again, err := ParseVersion(b)
		if err != nil || len(b) != VersionSize || again != text[:min(len(text), VersionSize-1)] {
			t.Fatalf("%q became %q, %v", text, again, err)
		}
	})
}
