package tsocket_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// TestAbstract uses names of the abstract namespace, with any bytes in them.
func TestAbstract(t *testing.T) {
	name := fmt.Sprintf("tsocket test %d\x00\x01", os.Getpid())
	at, err := tsocket.AbstractAddr(name)
	require.NoError(t, err)
	raw, err := at.AppendRaw(nil)
	require.NoError(t, err)
	assert.Len(t, raw, 3+len(name))
	back, err := tsocket.AddrFromRaw(raw)
	require.NoError(t, err)
	assert.Equal(t, at, back)

	a, b := connected(t, at)
	write(t, a, "x")
	readAll(t, b, 1)
	assert.Equal(t, at, a.RemoteAddr())
	assert.Equal(t, at, b.LocalAddr())

	in := unixDgram(t, at, tsocket.Addr{})
	_, err = in.SendTo(background, []byte("me"), at)
	require.NoError(t, err)
	_, src := recv(t, in)
	assert.Equal(t, at, src)
}

// TestAtPath: a path that begins with "@" is a path.
func TestAtPath(t *testing.T) {
	t.Chdir(t.TempDir())
	at := tsocket.MustAddr(tsocket.UnixAddr("@file"))
	d := unixDgram(t, at, tsocket.Addr{})
	_, err := os.Stat("@file")
	require.NoError(t, err)
	_, err = d.SendTo(background, []byte("me"), at)
	require.NoError(t, err)
	_, src := recv(t, d)
	assert.Equal(t, at, src)
}
