//go:build linux

package rxkad_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// A busSite has a broker with its agents, and users who have nothing but its socket.
type busSite struct {
	t    *testing.T
	dir  string
	user *syscall.Credential // somebody without privileges; nil where there is no other user
}

func newBusSite(t *testing.T) *busSite {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus-interop-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	s := &busSite{t: t, dir: dir}
	out, err := exec.CommandContext(soon(t), "go", "build", "-o", s.path("cnbus"), "github.com/cnbus/cnbus/cmd/cnbus").CombinedOutput()
	require.NoError(t, err, "%s", out)
	if probe := s.path("probe"); os.WriteFile(probe, nil, 0o600) == nil && os.Chown(probe, 65534, 65534) == nil {
		s.user = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	serve := s.command(nil, "serve", "--policy", "system", "--no-proc")
	said, err := serve.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, serve.Start())
	t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		_ = serve.Wait()
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "serving ") {
		t.Log(lines.Text())
	}
	require.Contains(t, lines.Text(), "RxRPC: yes")
	go func() {
		for lines.Scan() { // until it ends
		}
	}()
	return s
}

func (s *busSite) path(name string) string { return filepath.Join(s.dir, name) }

func (s *busSite) command(as *syscall.Credential, args ...string) *exec.Cmd {
	c := exec.CommandContext(soon(s.t), s.path("cnbus"), append(args, "--socket", s.path("bus.sock"))...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "HOME="+s.dir, "XDG_RUNTIME_DIR=")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	return c
}

// run runs a command of the user, or of the one who has started the broker.
func (s *busSite) run(as *syscall.Credential, in string, args ...string) (out string, code int) {
	s.t.Helper()
	c := s.command(as, args...)
	var b bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(in), &b, &b
	if err := c.Run(); c.ProcessState == nil {
		require.NoError(s.t, err)
	}
	return b.String(), c.ProcessState.ExitCode()
}

// throughTheBus: a user who has nothing but the broker's socket gets a ticket, which stays in the broker, and creates
// users in the cell with it, at each level; what is done without the key, by somebody else, or when it is revoked, is refused.
func throughTheBus(t *testing.T, k *testkdc.KDC, cell rig.Cell, password string) {
	s := newBusSite(t)
	conf, err := os.ReadFile(k.Conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path("krb5.conf"), conf, 0o644))
	name := klog.Description(openafs.CellName)
	out, code := s.run(s.user, password+"\n", "rx", "klog", "--password", "admin", "--cell", openafs.CellName, "--krb5-conf", s.path("krb5.conf"), "--bus")
	require.Zero(t, code, out)
	require.Contains(t, out, "keyring of the broker")
	out, code = s.run(s.user, "", "rx", "key", "ls")
	require.Zero(t, code, out)
	assert.Contains(t, out, name)

	create := func(as *syscall.Credential, who string, with ...string) (string, int) {
		request, err := afs.Request(afs.PRNewEntry, afs.NewEntryArgs{Name: who})
		require.NoError(t, err)
		args := []string{"rx", "call", cell.AddrPort(openafs.PTPort).String(), strconv.Itoa(openafs.PTService), hex.EncodeToString(request), "--hex"}
		return s.run(as, "", append(args, with...)...)
	}
	for _, l := range levels {
		who := "by-bus-" + l.String()
		out, code := create(s.user, who, "--key", name, "--level", names[l])
		require.Zero(t, code, "%v: %s", l, out)
		assert.Contains(t, cell.Must(t, "pts", "listentries", "-localauth"), who)
	}
	out, code = create(s.user, "by-nobody")
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "267269", "PRPERM")
	if s.user != nil {
		out, code = create(nil, "by-root", "--key", name)
		assert.Equal(t, 1, code, out)
		assert.Contains(t, out, "no such key", "root has its own keyring")
	}
	out, code = s.run(s.user, "", "rx", "key", "revoke", name)
	require.Zero(t, code, out)
	out, code = create(s.user, "by-revoked", "--key", name)
	assert.Equal(t, 1, code, out)
	assert.Contains(t, out, "revoked")
	assert.NotContains(t, cell.Must(t, "pts", "listentries", "-localauth"), "by-r")
}
