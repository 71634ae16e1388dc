package rig

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tests/interop/fetched"
	"github.com/cnbus/cnbus/tests/interop/kernel"
)

// vmPatience is Patience for what runs under emulation.
const vmPatience = 3 * time.Minute

// A Machine is a virtual machine with a kernel that has AF_RXRPC.
type Machine struct{ *kernel.Machine }

// VM boots a kernel and ends it at the end of the test. Software emulation takes 4
// to 10 s for that on a quiet machine: let subtests share one.
func VM(t testing.TB, cfg kernel.Config) Machine {
	t.Helper()
	if cfg.Flavour == "" {
		cfg.Flavour = kernel.Stable
	}
	if _, err := fetched.Kernel(cfg.Flavour); err != nil {
		testenv.Skip(t, err.Error())
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		testenv.Skip(t, "no virtual machines: "+err.Error())
	}
	World(t)
	if tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		tun.Close()
	} else if cfg.Network == "" || cfg.Network == kernel.Tap {
		testenv.Skip(t, "no network to a virtual machine: "+err.Error())
	}
	start := time.Now()
	m, err := kernel.Start(vmPatient(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel %s booted in %v", m.Release, time.Since(start).Round(time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console of %s:\n%s", m.Release, m.Console())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return Machine{m}
}

func vmPatient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), vmPatience)
	t.Cleanup(cancel)
	return ctx
}

// Run runs a command in the guest to its end.
func (m Machine) Run(t testing.TB, command string) (out string, status int) {
	t.Helper()
	out, status, err := m.Machine.Run(vmPatient(t), command)
	if err != nil {
		t.Fatal(err)
	}
	return out, status
}

// Must runs a command in the guest that must succeed, and returns what it
// printed.
func (m Machine) Must(t testing.TB, command string) string {
	t.Helper()
	out, status := m.Run(t, command)
	if status != 0 {
		t.Fatalf("%s: exit %d\n%s", command, status, out)
	}
	return out
}

// Serve starts a command in the guest, waits until it has printed what matches
// ready, and stops it at the end of the test.
func (m Machine) Serve(t testing.TB, ready, command string) *kernel.Cmd {
	t.Helper()
	c, err := m.Start(command)
	if err == nil {
		_, err = c.Await(vmPatient(t), regexp.MustCompile(ready))
	}
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	t.Cleanup(func() {
		err := c.Stop()
		if err == nil {
			_, _, err = c.Wait(vmPatient(t))
		}
		if err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", command, c.Out())
		}
	})
	return c
}
