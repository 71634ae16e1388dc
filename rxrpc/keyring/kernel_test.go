//go:build linux

package keyring

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
)

// TestKernel has keys in a keyring of the kernel, and a Store that finds them there.
func TestKernel(t *testing.T) {
	runtime.LockOSThread() // it is the thread's, and ends with it
	if _, err := unix.KeyctlJoinSessionKeyring("cnbus-test"); err != nil {
		testenv.Skip(t, "no keyrings of the kernel: "+err.Error())
	}
	k, err := OpenKernel(SessionKeyring)
	require.NoError(t, err)
	refused(t, second(k.Request(TypeClient, "afs@x")), syscall.ENOKEY)

	w := newWorld(t, Config{Sources: []Source{k}})
	w.now = time.Now()
	token := w.token(t, time.Hour)
	require.NoError(t, k.Add(TypeClient, "afs@x", native(t, token)))
	long := make([]byte, 5000)
	require.NoError(t, k.Add(TypeClient, "long", long))
	b, err := k.Request(TypeClient, "long")
	require.NoError(t, err)
	assert.Equal(t, long, b)

	id, err := w.Request(w.user, TypeClient, "afs@x", 0)
	require.NoError(t, err)
	assert.True(t, w.keys[id].tokens[0].Session.Equal(token.Session))
	require.NoError(t, k.Remove(TypeClient, "afs@x"))
	require.NoError(t, k.Remove(TypeClient, "afs@x"))
	refused(t, second(k.Request(TypeClient, "afs@x")), syscall.ENOKEY)
	refused(t, second(OpenKernel(-4711)), syscall.EINVAL)
}
