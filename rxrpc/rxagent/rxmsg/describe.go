package rxmsg

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Describe returns one line about a message to or from the agent, for people; false if m is none. Data and the keys of the body of
// an OpKey are never in it.
func Describe(m connector.Message) (string, bool) {
	if m.ID != cbid.RxRPC && m.ID.Idx != cbid.RxRPCSiteIdx {
		return "", false
	}
	var d describer
	if r, body, err := ParseReply(m.Data); err == nil {
		d.reply(&r, body)
		return d.String(), true
	}
	h, body, err := ParseHeader(m.Data)
	if err != nil {
		return "rxrpc: " + fmt.Sprintf("%d bytes, no header", len(m.Data)), true
	}
	d.WriteString("rxrpc ")
	if h.Op.Event() {
		d.WriteString("event ")
	}
	d.WriteString(h.Op.String())
	d.sock(h.Sock)
	if h.Flags&FlagDeadline != 0 && !h.Op.Event() {
		ns, rest, err := TakeDeadline(body)
		if err != nil {
			d.WriteString(": no deadline")
			return d.String(), true
		}
		d.printf(" within %v", time.Duration(min(ns, 1<<63-1)))
		body = rest
	}
	d.body(&h, body)
	return d.String(), true
}

type describer struct{ strings.Builder }

func (d *describer) printf(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }

func (d *describer) sock(n uint32) {
	if n != 0 {
		d.printf(" sock %d", n)
	}
}

// text is part of a message in quotes, not too long.
func (d *describer) text(b []byte) {
	const most = 120
	if len(b) > most {
		d.printf("%q...", b[:most])
		return
	}
	d.printf("%q", b)
}

func (d *describer) reply(r *Reply, body []byte) {
	d.printf("rxrpc reply %v", r.Op)
	d.sock(r.Sock)
	if r.Errno != 0 {
		d.printf(": %s ", errnoName(r.Errno))
		d.text(body)
		return
	}
	d.WriteString(": done")
	if r.Op != OpGetOpt {
		d.printf(", %d", r.Value)
	}
	switch {
	case r.Op == OpHello:
		if h, err := ParseHello(body); err == nil {
			d.printf(", version %d, run %x", h.Version, h.Run)
		}
	case r.Op == OpGetOpt && len(body) > 0:
		d.option(&Header{Arg: OptArg(rxrpc.SOLRxRPC, int(r.Value))}, body) // the only level that has any
	case (r.Op == OpBind || r.Op == OpGetName) && len(body) > 0:
		d.name(" at ", body)
	case r.Op == OpRecvData:
		x, err := ParseReceived(body)
		if err != nil {
			d.WriteString(": malformed")
			return
		}
		d.printf(", status %d, %d bytes", x.Status, len(x.Data))
		if x.Errno != 0 {
			d.WriteString(", " + errnoName(x.Errno))
		}
	case len(body) > 0:
		d.printf(", %d bytes", len(body))
	}
}

func (d *describer) name(before string, b []byte) {
	if len(b) == 0 {
		return
	}
	if a, err := rxrpc.ParseAddr(b, 6); err == nil {
		d.printf("%s%v", before, a)
		return
	}
	d.printf("%sa malformed address", before)
}

func (d *describer) body(h *Header, body []byte) {
	bad := func(err error) {
		if err != nil {
			d.WriteString(": malformed")
		}
	}
	switch h.Op {
	case OpSocket:
		d.printf(" family %d", h.Arg)
	case OpBind, OpConnect:
		d.name(" ", body)
	case OpListen, OpShutdown, OpStat, OpCancel:
		d.printf(" %d", int64(h.Arg))
	case OpSetOpt, OpGetOpt:
		d.option(h, body)
	case OpSendmsg, EventMsg:
		m, err := ParseMsg(body)
		if err != nil {
			bad(err)
			return
		}
		d.msg(&m, h.Op == EventMsg)
	case EventRx:
		r, err := ParseRx(body)
		if err != nil {
			bad(err)
			return
		}
		d.printf(" call %d %v", h.Arg, r.Mark)
		d.name(" from ", r.Name)
		if r.Code != 0 || r.Errno != 0 {
			d.printf(" code %d errno %d", r.Code, int(r.Errno))
		}
		d.printf(", %d bytes", len(r.Data))
		if r.Last {
			d.WriteString(", the last")
		}
	case OpWindow, EventSent:
		n, err := ParseU32(body)
		d.printf(" call %d, %d bytes", h.Arg, n)
		bad(err)
	case EventError, EventClosed:
		f, err := ParseFailure(body)
		if err != nil {
			bad(err)
			return
		}
		if f.HasTag {
			d.printf(" call %d", h.Arg)
		}
		d.printf(": %v: %s ", f.Op, errnoName(f.Errno))
		d.text([]byte(f.Text))
	case OpBeginCall:
		c, err := ParseBeginCall(body)
		d.printf(" call %d", h.Arg)
		if err != nil {
			bad(err)
			return
		}
		d.name(" to ", c.Name)
	case OpEndCall, OpSendData, OpAbortCall, OpAcceptCall, OpChargeAccept, OpSetTxLength, OpCheckLife, OpSRTT, OpRecvData, EventNotify:
		d.printf(" call %d, %d bytes", h.Arg, len(body))
	case OpDataDelivered, OpFree:
		d.printf(" message %d", h.Arg)
	default:
		if h.Op.Key() {
			d.key(h, body)
		}
	}
}

// options of level SOL_RXRPC.
var options = map[int]string{
	rxrpc.OptSecurityKey: "SECURITY_KEY", rxrpc.OptSecurityKeyring: "SECURITY_KEYRING", rxrpc.OptExclusiveConnection: "EXCLUSIVE_CONNECTION",
	rxrpc.OptMinSecurityLevel: "MIN_SECURITY_LEVEL", rxrpc.OptUpgradeableService: "UPGRADEABLE_SERVICE", rxrpc.OptSupportedCmsg: "SUPPORTED_CMSG",
	rxrpc.OptManageResponse: "MANAGE_RESPONSE",
}

// option names an option, and the value that it gets. Keys are named by their descriptions.
func (d *describer) option(h *Header, body []byte) {
	level, option := SplitOpt(h.Arg)
	name, ok := options[option]
	if !ok || level != rxrpc.SOLRxRPC {
		d.printf(" level %d option %d, %d bytes", level, option, len(body))
		return
	}
	d.WriteString(" RXRPC_" + name)
	o := binary.NativeEndian
	switch {
	case len(body) == 0:
	case option == rxrpc.OptSecurityKey || option == rxrpc.OptSecurityKeyring:
		d.WriteString(" ")
		d.text(body)
	case len(body) != 4:
		d.printf(", %d bytes", len(body))
	case option == rxrpc.OptUpgradeableService:
		d.printf(" %d to %d", o.Uint16(body), o.Uint16(body[2:]))
	case option == rxrpc.OptMinSecurityLevel && o.Uint32(body) <= rxrpc.SecurityEncrypted:
		d.printf(" %v", rxkad.Level(o.Uint32(body)))
	default:
		d.printf(" %d", o.Uint32(body))
	}
}

func (d *describer) msg(m *Msg, received bool) {
	parse := rxrpc.ParseControl
	if received {
		parse = rxrpc.ParseReceivedControl
	}
	c, err := parse(m.Control)
	if c.HasCallID {
		d.printf(" call %d", c.CallID)
	}
	if c.Command != 0 {
		d.printf(" %v", c.Command)
		if c.Code != 0 {
			d.printf(" %d", c.Code)
		}
	}
	if err != nil {
		d.WriteString(" with malformed control data")
	}
	if received {
		d.name(" from ", m.Name)
		if i, ok := FindSecurity(m.Control); ok {
			d.security(&i)
		}
	} else {
		d.name(" to ", m.Name)
	}
	d.printf(", %d bytes", len(m.Data))
	for _, f := range [...]struct {
		flag rxrpc.MsgFlags
		name string
	}{{rxrpc.MsgMore, "MORE"}, {rxrpc.MsgEOR, "EOR"}, {rxrpc.MsgDontWait, "DONTWAIT"}, {rxrpc.MsgWaitAll, "WAITALL"}} {
		if m.Flags&f.flag != 0 {
			d.WriteString(", " + f.name)
		}
	}
}

// security says who calls.
func (d *describer) security(i *rxrpc.SecurityInfo) {
	if !i.Authenticated {
		return
	}
	d.WriteString(" by ")
	if id, ok := i.Peer.(*rxkad.Identity); ok {
		d.text([]byte(id.String()))
	} else {
		d.WriteString("somebody")
	}
	d.printf(" at %v", rxkad.Level(i.Level))
}

func errnoName(e syscall.Errno) string { return fmt.Sprintf("errno %d (%v)", int(e), e) }
