package wire

import "encoding/binary"

// TrailerWords is how many words a whole trailer has.
const TrailerWords = 4

// AckTrailer is what an ACK advertises of its sender. AFS 3.2 sent none of it,
// 3.3 the first two words, 3.4 three, 3.5 all.
type AckTrailer struct {
	MaxMTU   uint32 // the largest packet that is accepted, in bytes after the header
	IfMTU    uint32 // of the interface, less the headers
	RWind    uint32 // receive window, in packets
	JumboMax uint32 // DATA packets in a datagram; 0: any that fit, the path's MTU is probed

	// Words is how many of the four are there. Append writes so many.
	Words int
}

func (t *AckTrailer) words() int { return min(max(t.Words, 0), TrailerWords) }

func (t *AckTrailer) fields() [TrailerWords]*uint32 {
	return [TrailerWords]*uint32{&t.MaxMTU, &t.IfMTU, &t.RWind, &t.JumboMax}
}

// parseTrailer takes the whole words that are there.
func parseTrailer(b []byte) (t AckTrailer, rest []byte) {
	for _, f := range t.fields() {
		if len(b) < 4 {
			break
		}
		*f, b = binary.BigEndian.Uint32(b), b[4:]
		t.Words++
	}
	return t, b
}

func (t *AckTrailer) append(b []byte) []byte {
	for i, f := range t.fields() {
		if i == t.words() {
			break
		}
		b = binary.BigEndian.AppendUint32(b, *f)
	}
	return b
}

// What is assumed of a peer that does not say it.
const (
	DefaultMTU    = 1444 // 1500 less IPv4, UDP and Rx headers (OpenAFS)
	DefaultWindow = 15   // packets (rx-spec)
)

// Bounds are what is believed of a peer's trailer. Each pair is inclusive.
type Bounds struct {
	MinMTU, MaxMTU uint32 // bytes after the header
	MaxWindow      uint32 // packets, at least 1
	MaxJumbo       uint32 // packets in a datagram, at least 1
}

// DefaultBounds are Linux's for the MTU, the largest window that soft acks can
// describe, and the most packets that a UDP datagram holds.
var DefaultBounds = Bounds{MinMTU: 500, MaxMTU: 65535 - HeaderSize, MaxWindow: MaxSoftAcks, MaxJumbo: MaxJumbo}

// Limits is what a peer accepts, in numbers that are safe to compute with: none
// is 0 or above its bound.
type Limits struct {
	MaxMTU uint32 // bytes after the header
	IfMTU  uint32 // bytes after the header, at most MaxMTU's bound
	Window uint32 // packets, at least 1: a window of 0 is probed with one packet
	Jumbo  uint32 // packets in a datagram, at least 1
	PMTUD  bool   // jumbos are sized by the path's MTU; Jumbo is the bound
}

// Clamp returns what t means within b (OPENAFS-SA-2017-001: absurd values must
// not reach arithmetic). Words that are not there count as DefaultMTU,
// DefaultWindow and no jumbos.
func (t AckTrailer) Clamp(b Bounds) Limits {
	l := Limits{MaxMTU: DefaultMTU, IfMTU: DefaultMTU, Window: DefaultWindow, Jumbo: 1}
	if t.Words >= 1 {
		l.MaxMTU = t.MaxMTU
	}
	if t.Words >= 2 {
		l.IfMTU = t.IfMTU
	}
	if t.Words >= 3 {
		l.Window = t.RWind
	}
	if t.Words >= 4 {
		l.Jumbo, l.PMTUD = t.JumboMax, t.JumboMax == 0
		if l.PMTUD {
			l.Jumbo = b.MaxJumbo
		}
	}
	l.MaxMTU = clamp(l.MaxMTU, b.MinMTU, b.MaxMTU)
	l.IfMTU = clamp(l.IfMTU, b.MinMTU, b.MaxMTU)
	l.Window = clamp(l.Window, 1, b.MaxWindow)
	l.Jumbo = clamp(l.Jumbo, 1, b.MaxJumbo)
	return l
}

// ClampTrailer is Clamp with DefaultBounds.
func ClampTrailer(t AckTrailer) Limits { return t.Clamp(DefaultBounds) }

// clamp returns v within lo and hi, and never 0, even of bounds that contradict
// each other.
func clamp(v, lo, hi uint32) uint32 { return max(min(max(v, lo), hi), 1) }
