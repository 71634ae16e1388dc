package tsocket

import (
	"encoding/binary"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// control is a control message as the kernel lays it out.
func control(level, kind int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// extendedErr is a struct sock_extended_err with who is to blame.
func extendedErr(errno syscall.Errno, origin uint8, info uint32, offender []byte) []byte {
	ee := unix.SockExtendedErr{Errno: uint32(errno), Origin: origin, Info: info}
	b := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&ee)), unsafe.Sizeof(ee))...)
	return append(b, offender...)
}

// FuzzControl: control messages, whatever is in them, are read without looking
// beyond them, and give no impossible size.
func FuzzControl(f *testing.F) {
	router := MustAddr(ParseIP("ipv4", "192.0.2.1", 0))
	raw, err := router.AppendRaw(nil)
	require.NoError(f, err)
	refused := control(unix.IPPROTO_IP, unix.IP_RECVERR, extendedErr(syscall.ECONNREFUSED, unix.SO_EE_ORIGIN_ICMP, 0, raw))
	narrow := control(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, extendedErr(syscall.EMSGSIZE, unix.SO_EE_ORIGIN_LOCAL, 1280, make([]byte, 28)))
	gro := control(unix.IPPROTO_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, 1200))
	n := parseNotice(refused)
	require.NotNil(f, n)
	require.Equal(f, syscall.ECONNREFUSED, n.Errno)
	require.Equal(f, router, n.Offender)
	require.Equal(f, 1280, parseNotice(narrow).MTU)
	require.Equal(f, 1200, segmentSize(gro, len(gro), 5000))
	other := control(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, make([]byte, 16))
	require.Equal(f, 1200, segmentSize(append(other, gro...), len(other)+len(gro), 5000), "behind another one")
	require.Equal(f, 5000, segmentSize(other, len(other), 5000))

	for _, b := range [][]byte{refused, narrow, gro, append(other, gro...), nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// At the end of its memory, and aligned as the kernel's is.
		aligned := make([]uint64, len(b)/8+1)
		mem := unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), len(b))
		copy(mem, b)
		if n := parseNotice(mem); n != nil {
			require.GreaterOrEqual(t, n.MTU, 0)
		}
		require.Positive(t, segmentSize(mem, len(mem), 5000))
	})
}
