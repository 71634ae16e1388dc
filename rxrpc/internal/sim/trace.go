package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// A tracer writes what happens, a line each; nil writes nothing.
type tracer struct {
	w     io.Writer
	start proto.Time
}

func (t *tracer) on() bool { return t != nil && t.w != nil }

func (t *tracer) line(now proto.Time, format string, args ...any) {
	if t.on() {
		fmt.Fprintf(t.w, "%12.6f  %s\n", time.Duration(now-t.start).Seconds(), fmt.Sprintf(format, args...))
	}
}

var typeNames = map[byte]string{
	1: "DATA", 2: "ACK", 3: "BUSY", 4: "ABORT", 5: "ACKALL", 6: "CHALLENGE", 7: "RESPONSE", 8: "DEBUG", 13: "VERSION",
}

var reasonNames = [...]string{"0", "REQUESTED", "DUPLICATE", "OUTOFSEQ", "EXCEEDS", "NOSPACE", "PING", "PINGRESP", "DELAY", "IDLE"}

// describe says what a datagram is, whatever it is.
func describe(b []byte) string {
	if len(b) < 28 {
		return fmt.Sprintf("%d bytes", len(b))
	}
	be := binary.BigEndian
	var s strings.Builder
	name := typeNames[b[20]]
	if name == "" {
		name = fmt.Sprintf("type %d", b[20])
	}
	side := "srv"
	if b[21]&1 != 0 {
		side = "cli"
	}
	fmt.Fprintf(&s, "%-7s %s %08x/%08x call %d ser %d", name, side, be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:]), be.Uint32(b[16:]))
	if svc := be.Uint16(b[26:]); svc != 0 {
		fmt.Fprintf(&s, " svc %d.%d", svc, b[23])
	}
	if b[22] != 0 {
		fmt.Fprintf(&s, " status %d", b[22])
	}
	body := b[28:]
	switch b[20] {
	case 1:
		fmt.Fprintf(&s, " seq %d", be.Uint32(b[12:]))
		flags, n := b[21], 1
		for rest := body; flags&0x20 != 0 && len(rest) >= 1416; n++ {
			flags, rest = rest[1412], rest[1416:]
		}
		if n > 1 {
			fmt.Fprintf(&s, "..%d", int(be.Uint32(b[12:]))+n-1)
		}
		for i, name := range []string{"", "REQACK", "LAST", "MORE"} {
			if i > 0 && flags&(1<<i) != 0 {
				fmt.Fprintf(&s, " %s", name)
			}
		}
	case 2:
		if len(body) < 18 {
			break
		}
		reason := fmt.Sprint(body[16])
		if int(body[16]) < len(reasonNames) {
			reason = reasonNames[body[16]]
		}
		fmt.Fprintf(&s, " %s first %d prev %d for %d", reason, be.Uint32(body[4:]), be.Uint32(body[8:]), be.Uint32(body[12:]))
		n := min(int(body[17]), len(body)-18)
		if n > 0 {
			s.WriteString(" ")
			for _, v := range body[18 : 18+n] {
				s.WriteByte("-+"[v&1])
			}
		}
		if tr := body[18+n:]; len(tr) >= 19 {
			fmt.Fprintf(&s, " max %d if %d win %d jumbo %d", be.Uint32(tr[3:]), be.Uint32(tr[7:]), be.Uint32(tr[11:]), be.Uint32(tr[15:]))
		}
		if b[21]&2 != 0 {
			s.WriteString(" REQACK")
		}
	case 4:
		if len(body) >= 4 {
			fmt.Fprintf(&s, " code %d", int32(be.Uint32(body)))
		}
	}
	fmt.Fprintf(&s, " [%d]", len(b))
	return s.String()
}

func (t *tracer) packet(now proto.Time, verb string, from, to netip.AddrPort, b []byte, note string) {
	if t.on() {
		t.line(now, "%-4s %v > %v  %s%s", verb, from, to, describe(b), note)
	}
}
