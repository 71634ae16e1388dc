//go:build linux

package interop

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestAnUnprivilegedProcessListsACell: the volumes of a real cell, by messages to the RxRPC agent of cnbus serve alone.
func TestAnUnprivilegedProcessListsACell(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{FileServer: true})
	addr := cell.Addr.String()
	for _, name := range []string{"vol.one", "vol.two"} {
		cell.Must(t, "vos", "create", addr, "a", name, "-noauth")
	}
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() is for its owner alone
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for name, pkg := range map[string]string{"cnbus": "cmd/cnbus", "afs-ls": "examples/afs-ls"} {
		out, err := exec.CommandContext(soon(t), "go", "build", "-o", filepath.Join(dir, name), "github.com/cnbus/cnbus/"+pkg).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	socket := filepath.Join(dir, "socket")
	broker := exec.CommandContext(soon(t), filepath.Join(dir, "cnbus"), "serve", "--socket", socket, "--no-proc")
	stderr, err := broker.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, broker.Start())
	lines, read := bufio.NewScanner(stderr), make(chan struct{})
	close(read)
	t.Cleanup(func() {
		_ = broker.Process.Signal(syscall.SIGTERM)
		<-read // Wait closes the pipe, and a test that is over logs nothing
		_ = broker.Wait()
	})
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "serving "+socket)
	read = make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			t.Log("cnbus serve:", lines.Text())
		}
	}()

	out, err := asNobody(t, filepath.Join(dir, "afs-ls"), "-v", "-socket", socket, addr)
	require.NoError(t, err, "%s", out)
	volumes := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, volumes, 2, "%s", out)
	for i, name := range []string{"vol.one", "vol.two"} {
		fields := strings.Fields(volumes[i])
		assert.Equal(t, name, fields[0])
		assert.Equal(t, []string{"RW", addr + "/vicepa"}, fields[4:])
	}

	// What the server says no by arrives, too.
	out, err = asNobody(t, filepath.Join(dir, "afs-ls"), "-socket", socket, addr+":7002") // the protection server
	require.Error(t, err)
	assert.Contains(t, out, "RX_INVALID_OPERATION")
}

// asNobody runs a program as a user who may do nothing. Where the tests' world has one user only, that is one who has no privilege outside it.
func asNobody(t *testing.T, program string, args ...string) (out string, err error) {
	t.Helper()
	const nobody = 65534
	cmd := exec.CommandContext(soon(t), program, args...)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	b, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) { // there is no such user here
		b, err = exec.CommandContext(soon(t), program, args...).CombinedOutput()
	}
	return string(b), err
}
