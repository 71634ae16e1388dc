package tsocket_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// TestNetlink: a socket of another family, whose datagrams have any size.
func TestNetlink(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	require.NoError(t, err)
	d, err := tsocket.DgramFromFD(fd)
	require.NoError(t, err)
	closeLater(t, d)
	request := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.RTM_GETLINK)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	_, err = d.SendTo(background, request, tsocket.Addr{})
	require.NoError(t, err)
	_, _, err = d.RecvFrom(soon(t), make([]byte, 10))
	isErrno(t, syscall.EMSGSIZE, err)
	v, err := d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	n, err := tsocket.NetlinkSize(v.Data)
	require.NoError(t, err)
	assert.LessOrEqual(t, n, len(v.Data))
	assert.EqualValues(t, unix.RTM_NEWLINK, binary.NativeEndian.Uint16(v.Data[4:]))
	assert.True(t, v.Src.IsZero(), "no address of ours")
}

// TestSeqpacket: messages on a connection, which ends.
func TestSeqpacket(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	a, err := tsocket.DgramFromFD(fds[0])
	require.NoError(t, err)
	b, err := tsocket.DgramFromFD(fds[1])
	require.NoError(t, err)
	closeLater(t, a, b)
	_, err = a.SendTo(background, []byte("one"), tsocket.Addr{})
	require.NoError(t, err)
	_, err = a.SendTo(background, []byte("two"), tsocket.Addr{})
	require.NoError(t, err)
	require.NoError(t, a.Close())
	for _, want := range []string{"one", "two"} {
		got, _ := recv(t, b)
		assert.Equal(t, want, got)
	}
	for range 2 {
		_, _, err = b.RecvFrom(soon(t), make([]byte, 10))
		assert.ErrorIs(t, err, io.EOF)
	}
	_, err = tsocket.DgramFromFD(streamFD(t))
	isErrno(t, syscall.EINVAL, err)
}

func streamFD(t testing.TB) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}
