package tsagent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// Describe says in one line what a message to or from the agent is, for `cnbus monitor`. It reports false for a message that
// is none of it. Events that go to a sink have another id, which is that of who asks.
func Describe(m connector.Message) (string, bool) {
	if m.ID != cbid.TSocket && m.ID.Idx != cbid.TSocketSiteIdx || len(m.Data) < HeaderLen {
		return "", false
	}
	switch op := Op(native.Uint16(m.Data)); {
	case op&ReplyBit != 0:
		return describeReply(m.Data)
	case op&EventBit != 0:
		return describeEvent(m.Data)
	}
	return describeRequest(m.Data)
}

// line is a line of words.
type line struct{ b strings.Builder }

func (l *line) add(format string, args ...any) *line {
	if l.b.Len() > 0 {
		l.b.WriteByte(' ')
	}
	fmt.Fprintf(&l.b, format, args...)
	return l
}

func (l *line) String() string { return l.b.String() }

func (l *line) begin(op Op, sock uint32) *line {
	l.add("%v", op)
	if sock != 0 {
		l.add("sock %d", sock)
	}
	return l
}

func describeRequest(data []byte) (string, bool) {
	h, body, err := ParseHeader(data)
	if err != nil || h.Op < OpHello || h.Op > lastOp {
		return "", false
	}
	l := new(line).begin(h.Op, h.Sock)
	if h.Flags&FlagNoReply != 0 {
		l.add("posted")
	}
	if h.Flags&FlagMore != 0 {
		return l.add("part of %d bytes", len(body)).String(), true
	}
	if h.Flags&FlagDeadline != 0 && len(body) >= 8 {
		l.add("within %v", time.Duration(native.Uint64(body)))
		body = body[8:]
	}
	switch h.Op {
	case OpOpen:
		kind := map[uint64]string{kindStream: "stream", kindDgram: "dgram"}[h.Arg>>16&0xffff]
		l.add("%s %s", orNumber(familyName(int(h.Arg&0xffff)), h.Arg&0xffff), orNumber(kind, h.Arg>>16&0xffff))
	case OpBind:
		l.addAddrs(body, 1)
	case OpConnect:
		l.addAddrs(body, 2)
	case OpListen:
		l.add("backlog %d", h.Arg&0xffffffff)
	case OpSendTo:
		l.addBatch(body)
	case OpReadv:
		l.add("%d bytes", h.Arg)
		if h.Flags&FlagAll != 0 {
			l.add("all")
		}
	case OpWritev:
		l.add("%d bytes", len(body))
	case OpRecvFrom, OpWindow, OpStat:
		l.add("%d", h.Arg)
	case OpSetOpt, OpGetOpt:
		l.addOption(Option(h.Arg), body)
	case OpCancel:
		if h.Flags&FlagAll != 0 {
			l.add("%v", Op(h.Arg))
		} else {
			l.add("seq %d", h.Arg)
		}
	}
	return l.String(), true
}

func orNumber(name string, n uint64) string {
	if name == "" {
		return strconv.FormatUint(n, 10)
	}
	return name
}

func describeReply(data []byte) (string, bool) {
	r, body, err := ParseReply(data)
	if err != nil || r.Op < OpHello || r.Op > lastOp {
		return "", false
	}
	l := new(line).begin(r.Op, r.Sock)
	if r.Errno != 0 {
		return l.add("failed: %v", r.Err(body)).String(), true
	}
	l.add("done")
	switch r.Op {
	case OpBind, OpListen:
		l.addAddrs(body, 1)
	case OpConnect, OpAccept, OpGetName:
		l.addAddrs(body, 2)
	case OpRecvFrom:
		l.addBatch(body)
	case OpSendTo:
		l.add("%d datagrams", r.Value)
	case OpReadv, OpWritev, OpPending, OpStat:
		l.add("%d bytes", r.Value)
	case OpGetOpt:
		l.addOption(Option(r.Value), body)
	}
	return l.String(), true
}

// addOption names an option, and its values if there are any.
func (l *line) addOption(o Option, body []byte) {
	l.add("%v", o)
	if len(body) == 0 {
		return
	}
	if o.values() == 0 || len(body) != 8*o.values() {
		l.add("(%d bytes)", len(body))
		return
	}
	var v [3]int64
	for i := range o.values() {
		v[i] = int64(native.Uint64(body[8*i:]))
	}
	switch o {
	case OptKeepAlive:
		if v[0] < 0 {
			l.add("off")
			return
		}
		for i, name := range []string{"idle", "interval"} {
			if v[i] != 0 {
				l.add("%s %v", name, time.Duration(v[i]))
			}
		}
		if v[2] != 0 {
			l.add("count %d", v[2])
		}
		if v == [3]int64{} {
			l.add("on")
		}
	case OptUserTimeout:
		l.add("%v", time.Duration(v[0]))
	case OptBuffers:
		l.add("receive %d send %d", v[0], v[1])
	case OptMTUMode:
		l.add("%s", orNumber(mtuModes[tsocket.MTUMode(v[0])], uint64(v[0])))
	case OptPathMTU:
		l.add("%d", v[0])
	default:
		l.add("%s", map[bool]string{false: "off", true: "on"}[v[0] != 0])
	}
}

var mtuModes = map[tsocket.MTUMode]string{
	tsocket.MTUFragment: "fragment", tsocket.MTUSystem: "system", tsocket.MTURefuse: "refuse", tsocket.MTUProbe: "probe",
}

func describeEvent(data []byte) (string, bool) {
	h, body, err := ParseHeader(data)
	if err != nil || h.Op < EvGreeting || h.Op > lastEvent {
		return "", false
	}
	l := new(line).begin(h.Op, h.Sock)
	switch h.Op {
	case EvData:
		l.add("%d bytes", len(body))
	case EvWindow:
		l.add("%d", h.Arg)
	case EvDatagrams:
		if h.Flags&FlagMore != 0 {
			l.add("part of %d bytes", len(body))
		} else {
			l.addBatch(body)
		}
	case EvNotice:
		if n, err := ParseNotice(body); err == nil {
			l.add("%s", cleanText([]byte(n.Error())))
		}
	case EvAccepted:
		if why, err := parseErrno(body); err == nil && why == nil {
			l.add("sock %d", h.Arg).addAddrs(body[4:], 2)
		} else {
			l.addErrno(body)
		}
	case EvError:
		l.add("of %v:", Op(h.Arg)).addErrno(body)
	default:
		l.addErrno(body)
	}
	return l.String(), true
}

func (l *line) addErrno(body []byte) {
	switch why, err := parseErrno(body); {
	case err != nil:
	case why == nil:
		l.add("without error")
	default:
		l.add("%v", why)
	}
}

// addAddrs adds up to n addresses.
func (l *line) addAddrs(body []byte, n int) {
	for ; n > 0 && len(body) > 0; n-- {
		a, rest, err := ParseAddr(body)
		if err != nil {
			l.add("(%v)", err)
			return
		}
		if body = rest; !a.IsZero() {
			l.add("%s", cleanText([]byte(a.String())))
		}
	}
}

// addBatch tells how many datagrams there are, and of the first where it goes or comes from. The last messages of a batch in
// several are not told from others: what is in them is no batch then.
func (l *line) addBatch(body []byte) {
	msgs, err := ParseBatch(nil, body)
	if err != nil || len(msgs) == 0 {
		l.add("%d bytes", len(body))
		return
	}
	sum := 0
	for i := range msgs {
		sum += len(msgs[i].Data)
	}
	l.add("%d datagrams, %d bytes", len(msgs), sum)
	if a := msgs[0].Addr; a != (tsocket.Addr{}) {
		l.add("%s", cleanText([]byte(a.String())))
	}
}
