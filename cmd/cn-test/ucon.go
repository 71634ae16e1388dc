package main

import (
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

// uconLine is a message as ucon.c prints it, followed by its data:
//
//	Sat Nov 21 09:45:43 2026 : [123.457] [00000001.00000000]  counter = 1
func uconLine(m *connector.Message, at time.Time) string {
	line := fmt.Sprintf("%s : [%x.%x] [%08d.%08d]", at.Format(time.ANSIC), m.ID.Idx, m.ID.Val, m.Seq, m.Ack)
	if len(m.Data) > 0 {
		line += "  " + cli.Text(m.Data)
	}
	return line
}

// show prints a message, or JSON.
func (e *env) show(what string, ev *connector.Event, note string) error {
	now := time.Now()
	if e.app.JSON {
		l := cli.NewEventLine(*ev, now)
		if ev.Kind == connector.EventMessage {
			l.Event = what
		}
		return e.app.Out.JSON(l)
	}
	if ev.Kind != connector.EventMessage {
		_, err := fmt.Fprintln(e.app.Out, cli.EventText(*ev, now, e.app.Out.Style))
		return err
	}
	line := uconLine(&ev.Msg, now)
	if note != "" {
		line += "  " + e.app.Out.Style.Dim(note)
	}
	_, err := fmt.Fprintln(e.app.Out, line)
	return err
}
