package busbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// dbusConfig is a session bus without services. All may do everything, as on a
// desktop.
const dbusConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// dbusStart is how long the daemon may take to listen.
const dbusStart = patience

// dbus starts a dbus-daemon of its own.
func (c *cast) dbus(ctx context.Context) (*host, error) {
	exe, err := exec.LookPath("dbus-daemon")
	if err != nil {
		return nil, &harness.Missing{What: "dbus-daemon (Debian package dbus-daemon; make bench-deps)"}
	}
	socket := c.socket()
	config := filepath.Join(c.env.Dir, "dbus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, dbusConfig, socket), 0o600); err != nil {
		return nil, err
	}
	// It prints its address when it listens.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command(exe, "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog", "--print-address=3")
	cmd.ExtraFiles = []*os.File{w}
	p, err := role.Run(cmd)
	w.Close()
	if err != nil {
		return nil, err
	}
	c.hosts = append(c.hosts, p)
	deadline := time.Now().Add(dbusStart)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := r.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	var line [512]byte
	n, err := r.Read(line[:])
	if err != nil {
		return nil, fmt.Errorf("dbus-daemon does not listen: %w", err)
	}
	addr := strings.TrimSpace(string(line[:n]))
	return &host{place: place{System: sysDBus, Addr: addr}, pid: p.PID()}, nil
}

const (
	dbusPath  = dbus.ObjectPath("/org/cnbus/bench")
	dbusIface = "org.cnbus.bench"
)

var errNoDBusSignals = errors.New("only round trips are measured on D-Bus")

type dbusConn struct{ c *dbus.Conn }

func dialDBus(_ context.Context, addr string) (conn, error) {
	c, err := dbus.Connect(addr)
	if err != nil {
		return nil, err
	}
	return &dbusConn{c}, nil
}

// dbusEcho is the object. A string is what godbus encodes fastest: a []byte
// takes it several times as long.
type dbusEcho struct{}

func (dbusEcho) Echo(s string) (string, *dbus.Error) { return s, nil }

func dbusName(topic uint32) string { return fmt.Sprintf("org.cnbus.bench.t%d", topic) }

func (d *dbusConn) echo(_ context.Context, topic uint32) error {
	if err := d.c.Export(dbusEcho{}, dbusPath, dbusIface); err != nil {
		return err
	}
	got, err := d.c.RequestName(dbusName(topic), dbus.NameFlagDoNotQueue)
	if err == nil && got != dbus.RequestNameReplyPrimaryOwner {
		err = fmt.Errorf("name %s is taken", dbusName(topic))
	}
	return err
}

func (d *dbusConn) caller(_ context.Context, topic uint32) (func(context.Context, []byte) (int, error), error) {
	o := d.c.Object(dbusName(topic), dbusPath)
	return func(ctx context.Context, payload []byte) (int, error) {
		var s string
		err := o.CallWithContext(ctx, dbusIface+".Echo", 0, string(payload)).Store(&s)
		return len(s), err
	}, nil
}

func (d *dbusConn) subscribe(context.Context, uint32, func([]byte), func(uint64)) (target, error) {
	return target{}, errNoDBusSignals
}

func (d *dbusConn) publisher(context.Context, target) (func([]byte) error, func() error, error) {
	return nil, nil, errNoDBusSignals
}

func (d *dbusConn) close() error { return d.c.Close() }
