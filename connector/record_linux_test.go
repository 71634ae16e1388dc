package connector

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
)

var recordGolden = flag.Bool("record", false, "record testdata/proc-*.hex from this host's kernel")

// TestRecordGolden writes the golden datagrams:
//
//	go test ./connector -run TestRecordGolden -record
//
// It listens to process events, starts a program, and keeps the first datagram of
// each kind. It needs what listening needs (see package procevent).
func TestRecordGolden(t *testing.T) {
	if !*recordGolden {
		// Not testenv.Skip: nothing is tested here.
		t.Skip("-record is not given")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}))
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))

	const listen, ignore = 1, 2
	request := func(op uint32) []byte {
		b, err := Message{ID: cbid.Proc, Seq: 0x1111, Ack: 0x7f000001, Data: native.AppendUint32(nil, op)}.MarshalBinary()
		require.NoError(t, err)
		return b
	}
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	require.NoError(t, unix.Sendto(fd, request(listen), 0, kernel))
	// Without it the kernel would go on producing events for ever.
	defer func() { require.NoError(t, unix.Sendto(fd, request(ignore), 0, kernel)) }()
	require.Error(t, exec.Command("/bin/false").Run(), "it exits with 1")

	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	release, _, _ := strings.Cut(unix.ByteSliceToString(uts.Release[:]), "-") // the rest names a build
	origin := fmt.Sprintf("recorded %s from Linux %s, %s, %s-endian", time.Now().UTC().Format(time.DateOnly),
		release, runtime.GOARCH, endian())
	save := func(name, what string, b []byte) {
		text := fmt.Sprintf("# %s: %s\n%s", what, origin, dump(b))
		require.NoError(t, os.WriteFile(filepath.Join("testdata", name+".hex"), []byte(text), 0o644))
	}
	save("proc-listen", "request to LISTEN, as accepted by the kernel", request(listen))

	kinds := map[uint32]string{0: "ack", 1: "fork", 2: "exec", 0x80000000: "exit"}
	b := make([]byte, 1<<16)
	for len(kinds) > 0 {
		n, _, err := unix.Recvfrom(fd, b, 0)
		require.NoError(t, err)
		what := native.Uint32(b[HeaderLen:])
		if name, ok := kinds[what]; ok {
			save("proc-"+name, "datagram of cn_proc, event "+name, b[:n])
			delete(kinds, what)
		}
	}
}

func endian() string {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return "little"
	}
	return "big"
}

// dump writes 16 bytes a line, as loadHex reads them.
func dump(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}
