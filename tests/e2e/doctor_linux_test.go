//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
)

type finding struct{ Check, Status, Text, Advice string }

// examine runs the doctor, with other namespaces if flags say so.
func examine(t *testing.T, s *site, flags uintptr) (map[string]finding, int) {
	t.Helper()
	c := s.command("cnbus", "doctor", "--json")
	if flags != 0 {
		c.SysProcAttr.Cloneflags = flags
		if flags&unix.CLONE_NEWUSER != 0 {
			// Who makes the namespace is root in it.
			c.SysProcAttr.Credential = nil
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		if err := s.command("true").Run(); err != nil {
			testenv.Skip(t, "cannot run programs here: "+err.Error())
		}
	}
	r := s.runCmd(c)
	found := make(map[string]finding)
	for line := range strings.Lines(r.out) {
		var f finding
		require.NoError(t, json.Unmarshal([]byte(line), &f), line)
		found[f.Check] = f
	}
	return found, r.code
}

// Where all is well the doctor says so, for the whole way of an event.
func TestDoctorFindsNothing(t *testing.T) {
	s := withEvents(t)
	found, _ := examine(t, s, 0)
	for _, check := range []string{"broker", "socket", "policy", "losses", "proc agent", "namespaces", "kernel", "permission", "events", "forgers", "masks", "sock agent", "sock policy", "rx agent", "rx policy", "af_rxrpc"} {
		assert.Equal(t, "ok", found[check].Status, "%+v", found[check])
	}
	assert.Contains(t, found, "buffer")
	assert.Contains(t, found, "udp")
	assert.Contains(t, found, "udp buffers")
	assert.Regexp(t, `calls leave from UDP port [1-9]\d*$`, found["rx agent"].Text)
	assert.Equal(t, "you may call everything; serve everything; with keys: everything", found["rx policy"].Text)
	assert.Contains(t, found, "listeners")
	assert.Contains(t, found, "drops")
}

// In other namespaces the kernel is silent, and the doctor tells which is the cause.
func TestDoctorTellsNamespaces(t *testing.T) {
	s := withEvents(t)
	for _, c := range []struct {
		name  string
		flags uintptr
		text  string
	}{
		{"net", unix.CLONE_NEWUSER | unix.CLONE_NEWNET, "not in the initial network namespace"},
		{"user", unix.CLONE_NEWUSER, "not in the initial user namespace"},
		{"pid", unix.CLONE_NEWUSER | unix.CLONE_NEWPID, "not in the initial user and pid namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, code := examine(t, &site{t: t, dir: s.dir, env: s.env}, c.flags)
			assert.Equal(t, 1, code)
			assert.Equal(t, "fail", found["namespaces"].Status)
			assert.Contains(t, found["namespaces"].Text, c.text)
			assert.NotEmpty(t, found["namespaces"].Advice)
			assert.NotContains(t, found, "listeners", "what follows from it is not told")
			assert.Equal(t, "ok", found["broker"].Status, "the broker's socket is not a matter of namespaces")
		})
	}
}

func TestDoctorWithoutABroker(t *testing.T) {
	s := newSite(t)
	found, code := examine(t, s, 0)
	assert.Equal(t, 1, code)
	assert.Equal(t, "fail", found["broker"].Status)
	assert.Contains(t, found["broker"].Text, "no broker answers at "+s.socket())

	// Something that listens there and is no broker.
	require.NoError(t, os.WriteFile(s.socket(), nil, 0o666))
	found, _ = examine(t, s, 0)
	assert.Equal(t, "fail", found["broker"].Status)
}

// A policy that shuts somebody out is told as that.
func TestDoctorTellsPolicy(t *testing.T) {
	s := newSite(t)
	s.broker("--policy", s.file("policy.toml", "[[rule]]\nuid = [4000000]\nadmin = true\n"))
	found, code := examine(t, s, 0)
	assert.Equal(t, 1, code)
	assert.Equal(t, "fail", found["broker"].Status)
	assert.Contains(t, found["broker"].Advice, "[[rule]]")
}

// Agents that are not there, and a policy that gives nothing of them.
func TestDoctorTellsAgents(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--no-rx", "--no-sock")
	found, _ := examine(t, s, 0)
	for check, flag := range map[string]string{"sock agent": "--no-sock", "rx agent": "--no-rx"} {
		assert.Equal(t, "warn", found[check].Status, "%+v", found[check])
		assert.Contains(t, found[check].Text, "nobody answers for")
		assert.Contains(t, found[check].Advice, flag)
	}
	assert.NotContains(t, found, "rx policy")

	s = newSite(t)
	s.broker("--no-proc", "--policy", s.file("policy.toml", "[[rule]]\nuid = ['self']\nregister = ['tsocket', 'rxrpc']\nsend = ['*']\nrx_call = ['192.0.2.1:7003 52']\n"))
	found, _ = examine(t, s, 0)
	assert.Equal(t, finding{"sock policy", "warn", "the policy lets you do nothing with it", found["sock policy"].Advice}, found["sock policy"])
	assert.Contains(t, found["sock policy"].Advice, "sock_connect")
	assert.Equal(t, "ok", found["rx policy"].Status)
	assert.Equal(t, "you may call 192.0.2.1:7003 52; serve nothing; with keys: nothing", found["rx policy"].Text)
	assert.Equal(t, "ok", found["rx agent"].Status)
}
