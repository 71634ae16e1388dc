package rig

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tests/interop/fetched"
	"github.com/cnbus/cnbus/tests/interop/openafs"
)

// Patience is how long anything that must come is waited for: starts of
// servers, ends of commands.
const Patience = 2 * time.Minute

// needOpenAFS skips the test if OpenAFS is not there.
func needOpenAFS(t testing.TB) {
	t.Helper()
	if _, err := fetched.OpenAFS(); err != nil {
		testenv.Skip(t, err.Error())
	}
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Patience)
	t.Cleanup(cancel)
	return ctx
}

// A Cell is a running cell of OpenAFS.
type Cell struct{ *openafs.Cell }

// OpenAFS starts a cell, waits until it is usable, and stops it at the end of the
// test. There can be one at a time in a package: the ports are fixed. A cell without
// an address gets Addr.
func OpenAFS(t testing.TB, cfg openafs.CellConfig) Cell {
	t.Helper()
	needOpenAFS(t)
	World(t)
	if !cfg.Addr.IsValid() {
		cfg.Addr = Addr
	}
	if cfg.FileServer && !canChown() {
		testenv.Skip(t, "the file server keeps its books in the owners of files: it needs root's many user ids")
	}
	start := time.Now()
	c, err := openafs.StartCell(patient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("OpenAFS, mode %s, usable after %v", c.Mode, time.Since(start).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("stopping OpenAFS: %v", err)
		}
	})
	return Cell{c}
}

// Run runs a command of OpenAFS in the cell; the test fails if the command could not be
// run or did not end. See Must.
func (c Cell) Run(t testing.TB, name string, args ...string) openafs.Result {
	t.Helper()
	return ended(t)(c.Cell.Run(patient(t), name, args...))
}

// Must runs a command that must succeed, and returns what it printed.
func (c Cell) Must(t testing.TB, name string, args ...string) string {
	t.Helper()
	return succeeded(t, c.Run(t, name, args...))
}

// Commands are OpenAFS's commands in a cell whose servers are the test's.
type Commands struct{ client *openafs.Client }

// OpenAFSCommands are vos, pts, bos and so on in a cell whose database server is
// at addr, where the test serves. With key, the cell's DES key with version
// openafs.KeyVersion, -localauth works.
func OpenAFSCommands(t testing.TB, addr netip.Addr, key []byte) Commands {
	t.Helper()
	needOpenAFS(t)
	World(t)
	c, err := openafs.NewClient(addr, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return Commands{c}
}

// Run runs a command; the test fails if it could not be run or did not end.
func (c Commands) Run(t testing.TB, name string, args ...string) openafs.Result {
	t.Helper()
	return ended(t)(c.client.Run(patient(t), name, args...))
}

// Must runs a command that must succeed, and returns what it printed.
func (c Commands) Must(t testing.TB, name string, args ...string) string {
	t.Helper()
	return succeeded(t, c.Run(t, name, args...))
}

// RxDebug runs rxdebug against addr and returns what it printed. Against the
// kernel it needs "-version": it repeats any other question for ever.
func RxDebug(t testing.TB, addr netip.AddrPort, args ...string) string {
	t.Helper()
	needOpenAFS(t)
	args = append([]string{addr.Addr().String(), portOf(addr)}, args...)
	return succeeded(t, ended(t)(openafs.Run(patient(t), "rxdebug", args...)))
}

// UDebug runs udebug against addr, a database server.
func UDebug(t testing.TB, addr netip.AddrPort, args ...string) string {
	t.Helper()
	needOpenAFS(t)
	args = append([]string{addr.Addr().String(), portOf(addr)}, args...)
	return succeeded(t, ended(t)(openafs.Run(patient(t), "udebug", args...)))
}

// TranslateEt runs translate_et, which tells what error codes mean.
func TranslateEt(t testing.TB, codes ...string) string {
	t.Helper()
	needOpenAFS(t)
	return succeeded(t, ended(t)(openafs.Run(patient(t), "translate_et", codes...)))
}

func ended(t testing.TB) func(openafs.Result, error) openafs.Result {
	t.Helper()
	return func(r openafs.Result, err error) openafs.Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func succeeded(t testing.TB, r openafs.Result) string {
	t.Helper()
	if r.Exit != 0 {
		t.Fatal(r.String())
	}
	return r.Out
}
