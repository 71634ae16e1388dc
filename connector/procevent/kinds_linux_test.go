package procevent

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
)

var background = context.Background()

// The kernel's own events of all ten kinds are understood, and restored to the
// byte. With CNBUS_RECORD=1 they are written to testdata.
func TestIntegrationEveryKind(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Skip(t, "changing user and group needs root")
	}
	c := dialKernel(t, nil)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMark+"=kinds", "GOTRACEBACK=none")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid := uint32(cmd.Process.Pid)

	// Its tracer for a moment, once it has become the test binary.
	got := make(map[string]Event)
	take := func(e *Event) bool {
		if e.Tgid != pid || e.Pid != pid {
			return false
		}
		name := e.Kind.String()
		if e.Kind == Ptrace && e.TracerPid == 0 {
			name = "ptrace-detach"
		}
		if _, again := got[name]; !again {
			got[name] = *e
		}
		return true
	}
	until(t, c, func(e *Event) bool { return take(e) && e.Kind == Exec })
	runtime.LockOSThread()
	require.NoError(t, unix.PtraceAttach(int(pid)))
	_, err = unix.Wait4(int(pid), nil, 0, nil)
	require.NoError(t, err)
	require.NoError(t, unix.PtraceDetach(int(pid)))
	runtime.UnlockOSThread()
	require.NoError(t, in.Close())
	until(t, c, func(e *Event) bool { return take(e) && e.Kind == Exit })
	require.Error(t, cmd.Wait())

	me := uint32(os.Getpid())
	check := func(name string, f func(e Event)) {
		e, ok := got[name]
		if assert.True(t, ok, "no %s event", name) {
			f(e)
			b, err := e.Append(nil, native)
			require.NoError(t, err)
			assert.Equal(t, e.raw[:], b)
		}
	}
	check("fork", func(e Event) { assert.Equal(t, me, e.ParentTgid) })
	check("exec", func(Event) {})
	check("comm", func(e Event) { assert.Equal(t, "golden", e.Comm()) })
	check("sid", func(Event) {})
	check("gid", func(e Event) { assert.Equal(t, [2]uint32{65534, 65533}, [2]uint32{e.RealID, e.EffectiveID}) })
	check("uid", func(e Event) { assert.Equal(t, [2]uint32{65534, 65533}, [2]uint32{e.RealID, e.EffectiveID}) })
	check("ptrace", func(e Event) { assert.Equal(t, me, e.TracerTgid) })
	check("ptrace-detach", func(e Event) { assert.Zero(t, e.TracerTgid) })
	check("coredump", func(e Event) { assert.Equal(t, me, e.ParentTgid) })
	check("exit", func(e Event) {
		assert.Equal(t, int(unix.SIGSEGV), e.Signal())
		assert.Contains(t, []uint32{me, 0}, e.ParentTgid, "0 when the parent has reaped it already")
	})
	if os.Getenv("CNBUS_RECORD") == "1" {
		record(t, got)
	}
}

func record(t *testing.T, got map[string]Event) {
	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	for name, e := range got {
		release, _, _ := strings.Cut(unix.ByteSliceToString(uts.Release[:]), "-") // the rest names a build
		text := fmt.Sprintf("# struct proc_event of Linux %s, %s, recorded by TestIntegrationEveryKind\n%s\n",
			release, unix.ByteSliceToString(uts.Machine[:]),
			strings.Join(chunks(hex.EncodeToString(e.raw[:]), 16), "\n"))
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name+".hex"), []byte(text), 0o644))
	}
}

func chunks(s string, n int) (c []string) {
	for ; len(s) > n; s = s[n:] {
		c = append(c, s[:n])
	}
	return append(c, s)
}
