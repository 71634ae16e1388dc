package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

// serveID registers --id and handles what is sent to it until ctx ends or
// --count is reached.
func (f *listenFlags) serveID(ctx context.Context, app *cli.App) error {
	id, err := cli.ParseID(f.id)
	if err != nil {
		return err
	}
	if f.name == "" {
		f.name = "listen"
	}
	log := app.Log(slog.LevelWarn)
	bus, err := app.DialConfig(ctx, &client.Config{Name: "cnbus listen", OnEvent: func(ev connector.Event) {
		if ev.Kind == connector.EventDown || ev.Kind == connector.EventUp {
			log.Warn("connection "+ev.Kind.String(), "err", ev.Err)
		}
	}})
	if err != nil {
		return err
	}
	defer bus.Close()

	ctx, done := context.WithCancelCause(ctx)
	defer done(nil)
	var seen atomic.Int64
	err = bus.AddCallback(ctx, id, f.name, connector.HandlerFunc(func(hctx context.Context, d *connector.Delivery) {
		n := seen.Add(1)
		if f.count > 0 && n > int64(f.count) {
			return
		}
		err := f.handle(hctx, app, d)
		if err != nil || n == int64(f.count) {
			done(err)
		}
	}))
	if err != nil {
		return err
	}
	if f.keep > 0 {
		if err := bus.SetHistory(ctx, id.Idx, connector.History{Messages: f.keep}); err != nil {
			return err
		}
	}
	app.Notice("registered %s as %q, waiting for messages", cli.ID(id), f.name)
	<-ctx.Done()
	if cli.Interrupted(ctx) {
		return ctx.Err()
	}
	if cause := context.Cause(ctx); cause != ctx.Err() { //nolint:errorlint // identity: no cause was given
		return cause
	}
	return nil
}

// handle prints a message and answers it.
func (f *listenFlags) handle(ctx context.Context, app *cli.App, d *connector.Delivery) error {
	now := time.Now()
	var err error
	if app.JSON {
		l := cli.NewMessageLine(d.Msg, d.From, now)
		l.Call = d.Call
		err = app.Out.JSON(l)
	} else {
		ev := connector.Event{Kind: connector.EventMessage, Msg: d.Msg, From: d.From}
		_, err = fmt.Fprintln(app.Out, cli.EventText(ev, now, app.Out.Style))
	}
	if err != nil {
		return err
	}
	reply := []byte(f.reply)
	if f.exec != "" {
		if reply, err = f.runCommand(ctx, app, d); err != nil {
			app.Log(slog.LevelWarn).Warn("command failed, the call stays without a reply", "err", err)
			return nil
		}
	}
	if d.Call && (f.replies || f.exec != "") {
		if err := d.Reply(ctx, reply); err != nil {
			app.Log(slog.LevelWarn).Warn("reply failed", "err", err)
		}
	}
	return nil
}

// runCommand gives a message to the shell command and returns what it prints.
func (f *listenFlags) runCommand(ctx context.Context, app *cli.App, d *connector.Delivery) ([]byte, error) {
	c := exec.CommandContext(ctx, "/bin/sh", "-c", f.exec)
	c.Stdin = bytes.NewReader(d.Msg.Data)
	c.Stderr = app.Err
	c.Env = append(
		os.Environ(), "CNBUS_ID="+d.Msg.ID.String(),
		fmt.Sprint("CNBUS_SEQ=", d.Msg.Seq), fmt.Sprint("CNBUS_ACK=", d.Msg.Ack), fmt.Sprint("CNBUS_PORT=", d.From.Port),
		fmt.Sprint("CNBUS_UID=", d.From.Cred.UID), fmt.Sprint("CNBUS_GID=", d.From.Cred.GID), fmt.Sprint("CNBUS_PID=", d.From.Cred.PID),
	)
	c.WaitDelay = time.Second
	out, err := c.Output()
	if err == nil && len(out) > connector.MaxData {
		err = fmt.Errorf("it printed %d bytes, a message has at most %d", len(out), connector.MaxData)
	}
	return out, err
}
