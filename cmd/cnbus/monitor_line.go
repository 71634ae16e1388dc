package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/procevent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/tsocket/tsagent"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// monLine is one line of `monitor --json`: a message, and how it was sent.
type monLine struct {
	cli.MessageLine
	How     string          `json:"how"`               // send, call, reply or publish
	ToPort  uint32          `json:"to_port,omitempty"` // unicast; neither this nor group: to the callback
	Result  string          `json:"result"`            // ok, or why the broker refused it
	Process json.RawMessage `json:"process,omitempty"` // the process event in it
	Decoded string          `json:"decoded,omitempty"` // what it means to the agents of sockets and RxRPC
}

func newMonLine(ev *client.MonEvent) monLine {
	l := monLine{
		MessageLine: cli.NewMessageLine(ev.Msg, ev.From, ev.Time),
		How:         how(ev), ToPort: ev.DestPort, Result: result(ev),
	}
	if e, ok := processEvent(ev); ok {
		l.Process, _ = json.Marshal(e) // of a struct of numbers: cannot fail
	}
	l.Decoded, _ = agentText(ev)
	return l
}

func how(ev *client.MonEvent) string {
	switch {
	case ev.Flags&client.MonReply != 0:
		return "reply"
	case ev.Flags&client.MonCall != 0:
		return "call"
	case ev.From.Group != 0 || ev.Flags&client.MonAgent != 0:
		return "publish"
	}
	return "send"
}

func result(ev *client.MonEvent) string {
	if ev.Err != nil {
		return strings.TrimPrefix(ev.Err.Error(), "connector ")
	}
	return "ok"
}

// monText is a message for people:
//
//	12:00:00.000  call     291:1110  port 7 alice pid 12 → callback  "how many?"
func monText(ev *client.MonEvent, s cli.Style, limit int) string {
	to := "callback"
	switch {
	case ev.DestPort != 0:
		to = fmt.Sprintf("port %d", ev.DestPort)
	case ev.From.Group != 0:
		to = fmt.Sprintf("group %d", ev.From.Group)
	case ev.Flags&client.MonAgent != 0:
		to = fmt.Sprintf("group %d", ev.Msg.ID.Idx)
	}
	from := fmt.Sprintf("port %d %s", ev.From.Port, cli.OwnerOf(ev.From.Cred, ""))
	line := fmt.Sprintf("%s  %-7s  %s  %s → %s  %s", s.Dim(cli.Clock(ev.Time)), how(ev), s.Cyan(cli.ID(ev.Msg.ID)), s.Dim(from), to, body(ev, limit))
	if ev.Err != nil {
		line += "  " + s.Red(result(ev))
	}
	return line
}

// body is the data, decoded where their meaning is known.
func body(ev *client.MonEvent, limit int) string {
	if e, ok := processEvent(ev); ok {
		return processText(&e)
	}
	if c, ok := controlText(ev); ok {
		return c
	}
	if c, ok := notifyText(ev); ok {
		return c
	}
	if a, ok := agentText(ev); ok {
		for _, name := range []string{"rxrpc ", "bussock: "} { // which the id tells
			a = strings.TrimPrefix(a, name)
		}
		return a
	}
	return cli.Data(ev.Msg.Data, limit)
}

// agentText decodes a message to or from an agent, and one of a virtual socket.
func agentText(ev *client.MonEvent) (string, bool) {
	for _, describe := range []func(connector.Message) (string, bool){rxmsg.Describe, tsagent.Describe, bussock.Describe} {
		if text, ok := describe(ev.Msg); ok {
			return text, true
		}
	}
	return "", false
}

// hideKey makes zeros of what is in a key on its way to the RxRPC agent that its owner has not sealed: it is nothing for logs and files.
func hideKey(ev *client.MonEvent) {
	h, body, err := rxmsg.ParseHeader(ev.Msg.Data)
	if ev.Msg.ID != cbid.RxRPC || err != nil || h.Op != rxmsg.OpKeyAdd || h.Flags&rxmsg.FlagSealed != 0 {
		return
	}
	ev.Raw = slices.Clone(ev.Raw)
	ev.Msg.Data = ev.Raw[len(ev.Raw)-len(ev.Msg.Data):]
	secret := ev.Raw[len(ev.Raw)-len(body):]
	if h.Flags&rxmsg.FlagDeadline != 0 {
		secret = secret[min(8, len(secret)):]
	}
	if k, err := rxmsg.ParseKeyAdd(secret); err == nil {
		secret = secret[len(secret)-len(k.Payload):]
	} // else nobody knows where it begins
	clear(secret)
}

// processEvent decodes a message of the proc agent, or an answer of it.
func processEvent(ev *client.MonEvent) (procevent.Event, bool) {
	if ev.Msg.ID != procevent.ID || len(ev.Msg.Data) != procevent.Size {
		return procevent.Event{}, false
	}
	e, err := procevent.Parse(ev.Msg.Data, binary.NativeEndian)
	e.Seq = ev.Msg.Seq
	return e, err == nil
}

func processText(e *procevent.Event) string {
	switch e.Kind {
	case procevent.Ack:
		if e.Err != 0 {
			return fmt.Sprintf("ack errno %d", e.Err)
		}
		return "ack"
	case procevent.Fork:
		return fmt.Sprintf("fork %d by %d", e.Pid, e.ParentPid)
	case procevent.Exit:
		if sig := e.Signal(); sig != 0 {
			return fmt.Sprintf("exit %d killed by %s", e.Pid, signalName(sig))
		}
		return fmt.Sprintf("exit %d status %d", e.Pid, e.Status())
	case procevent.Comm:
		return fmt.Sprintf("comm %d %q", e.Pid, e.Comm())
	}
	return fmt.Sprintf("%s %d", e.Kind, e.Pid)
}

// controlText decodes a request to the proc agent: its operation.
func controlText(ev *client.MonEvent) (string, bool) {
	if ev.Msg.ID != procevent.ID || ev.From.Group != 0 || ev.DestPort != 0 || len(ev.Msg.Data) < 4 {
		return "", false
	}
	switch op := binary.NativeEndian.Uint32(ev.Msg.Data); op {
	case 1:
		return "listen", true
	case 2:
		return "ignore", true
	case 0x101: // of the agent alone, see package procevent
		return "subscribe with a filter", true
	default:
		return fmt.Sprintf("operation %d", op), true
	}
}

// notifyText decodes a request to the control id.
func notifyText(ev *client.MonEvent) (string, bool) {
	if ev.Msg.ID != cbid.Control || ev.Flags&client.MonReply != 0 {
		return "", false
	}
	c, err := connector.ParseCtl(ev.Msg.Data, binary.NativeEndian)
	if err != nil {
		return "malformed request: " + cli.Data(ev.Msg.Data, 64), true
	}
	if c.Group == 0 {
		return fmt.Sprintf("notify no more: idx %s val %s", ranges(c.Idx), ranges(c.Val)), true
	}
	return fmt.Sprintf("notify group %d: idx %s val %s", c.Group, ranges(c.Idx), ranges(c.Val)), true
}

func ranges(list []connector.NotifyReq) string {
	if len(list) == 0 {
		return "none"
	}
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = fmt.Sprintf("%d+%d", r.First, r.Range)
	}
	return strings.Join(words, ",")
}
