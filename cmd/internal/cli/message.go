package cli

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// MessageLine is a message, or another event of an endpoint's stream, as --json
// prints it. Text is there when the data read well (without a NUL at the end), else Hex.
type MessageLine struct {
	Event string    `json:"event"` // message, lost, failed, down, up
	Time  time.Time `json:"time"`

	ID    *cbid.ID `json:"id,omitempty"`
	Seq   *uint32  `json:"seq,omitempty"`
	Ack   *uint32  `json:"ack,omitempty"`
	Flags uint16   `json:"flags,omitempty"`
	Call  bool     `json:"call,omitempty"` // the sender waits for a reply
	Len   *int     `json:"len,omitempty"`  // of the data
	Text  *string  `json:"text,omitempty"`
	Hex   string   `json:"hex,omitempty"`

	Group uint32  `json:"group,omitempty"` // that it came through; none for unicast
	Pos   uint64  `json:"pos,omitempty"`   // in the history of the group
	Epoch uint64  `json:"epoch,omitempty"` // of that history
	Port  uint32  `json:"port,omitempty"`  // of the sender
	UID   *uint32 `json:"uid,omitempty"`
	GID   *uint32 `json:"gid,omitempty"`
	PID   *uint32 `json:"pid,omitempty"`

	Count   *uint64 `json:"count,omitempty"`   // lost messages
	Unknown bool    `json:"unknown,omitempty"` // their number is
	Error   string  `json:"error,omitempty"`
}

// NewMessageLine describes a message that came at that time.
func NewMessageLine(m connector.Message, from connector.From, at time.Time) MessageLine {
	n := len(m.Data)
	l := MessageLine{
		Event: connector.EventMessage.String(), Time: at,
		ID: &m.ID, Seq: &m.Seq, Ack: &m.Ack, Flags: m.Flags, Len: &n,
		Group: from.Group, Port: from.Port, UID: &from.Cred.UID, GID: &from.Cred.GID, PID: &from.Cred.PID,
	}
	if IsText(m.Data) {
		text := string(trimNUL(m.Data))
		l.Text = &text
	} else {
		l.Hex = hex.EncodeToString(m.Data)
	}
	return l
}

// NewEventLine describes any event.
func NewEventLine(ev connector.Event, at time.Time) MessageLine {
	switch ev.Kind {
	case connector.EventMessage:
		l := NewMessageLine(ev.Msg, ev.From, at)
		l.Pos = ev.Pos
		return l
	case connector.EventLost:
		l := MessageLine{Event: ev.Kind.String(), Time: at, Group: ev.From.Group, Unknown: ev.Unknown}
		if !ev.Unknown {
			l.Count = &ev.Lost
		}
		return l
	case connector.EventFailed:
		l := NewMessageLine(ev.Msg, ev.From, at)
		l.Event, l.Error = ev.Kind.String(), errText(ev.Err)
		l.Len, l.Text, l.UID, l.GID, l.PID = nil, nil, nil, nil, nil
		return l
	}
	return MessageLine{Event: ev.Kind.String(), Time: at, Error: errText(ev.Err)}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return explain(err)
}

// lineLimit is how many bytes of data a line for people shows.
const lineLimit = 256

// EventText is an event for people, on one line.
func EventText(ev connector.Event, at time.Time, s Style) string {
	var b strings.Builder
	b.WriteString(s.Dim(Clock(at)) + "  ")
	switch ev.Kind {
	case connector.EventMessage:
		fmt.Fprintf(&b, "%s  %s  %s", s.Cyan(ID(ev.Msg.ID)), Data(ev.Msg.Data, lineLimit), s.Dim(FromText(ev.From, ev.Msg)))
	case connector.EventLost:
		what := fmt.Sprintf("%d messages lost", ev.Lost)
		switch {
		case ev.Unknown:
			what = "messages lost, nobody knows how many"
		case ev.Lost == 1:
			what = "1 message lost"
		}
		if ev.From.Group != 0 {
			what += fmt.Sprintf(" of group %d", ev.From.Group)
		}
		b.WriteString(s.Red(what))
	case connector.EventDown:
		b.WriteString(s.Yellow("the connection to the broker broke: " + errText(ev.Err)))
	case connector.EventUp:
		b.WriteString(s.Green("connected again"))
	default:
		fmt.Fprintf(&b, "%s %s", s.Red(ev.Kind.String()), errText(ev.Err))
	}
	return b.String()
}

// FromText says who sent a message, and its numbers.
func FromText(from connector.From, m connector.Message) string {
	who := "the kernel"
	if from.Port != 0 || from.Cred != (connector.Cred{}) {
		who = OwnerOf(from.Cred, "")
	}
	if from.Group != 0 {
		who += fmt.Sprintf(" to group %d", from.Group)
	}
	return fmt.Sprintf("%s  seq %d ack %d", who, m.Seq, m.Ack)
}
