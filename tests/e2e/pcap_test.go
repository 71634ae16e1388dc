//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

// capture writes two messages to a file.
func capture(t *testing.T) string {
	s := newSite(t)
	s.broker("--no-proc")
	path := filepath.Join(s.dir, "bus.pcapng")
	m := s.start("cnbus", "monitor", "--pcap", path, "-n", "2")
	m.expect(`watching what passes`)
	s.run("cnbus", "call", "0x123:0x456", "hello")
	s.run("cnbus", "send", "1:1", "--group", "77", "--hex", "00ff")
	assert.Zero(t, m.exit())
	m.expect(`2 messages written`)
	return path
}

func TestMonitorPcap(t *testing.T) {
	f, err := os.Open(capture(t))
	require.NoError(t, err)
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	require.NoError(t, err)
	assert.EqualValues(t, 253, r.LinkType(), "LINKTYPE_NETLINK")
	data, ci, err := r.ReadPacketData()
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 824 >> 8, 824 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11}, data[:16], "the header of the link type")
	assert.Len(t, data, 16+36+len("hello"))
	assert.Equal(t, "hello", string(data[16+36:]))
	assert.False(t, ci.Timestamp.IsZero())
	data, _, err = r.ReadPacketData()
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0xff}, data[16+36:])
}

// tshark opens it and sees what it is.
func TestMonitorPcapInTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		testenv.Skip(t, "no tshark: package tshark")
	}
	path := capture(t)
	cmd := exec.CommandContext(t.Context(), tshark, "-n", "-r", path, "-T", "fields", "-E", "separator=|",
		"-e", "frame.protocols", "-e", "netlink.family", "-e", "netlink.hdr_type", "-e", "frame.comment")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 2, "%s", out)
	assert.Regexp(t, `^netlink:data\|0x000b\|0x0003\|call; 291:1110; port \d+ \(uid \d+ gid \d+ pid \d+\) to callback; no such id$`, lines[0])
	assert.Regexp(t, `^netlink:data\|0x000b\|0x0003\|publish; proc 1:1; port \d+ \(.*\) to group 77; no listener in the group$`, lines[1])
}

// A pipe into another program.
func TestMonitorPcapToStdout(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	p := s.startCmd(s.command("sh", "-c", "exec cnbus monitor --pcap - -n 1 >out.pcapng"))
	p.expect(`watching what passes`)
	s.run("cnbus", "call", "7:1")
	assert.Zero(t, p.exit())
	b, err := os.ReadFile(s.dir + "/out.pcapng")
	require.NoError(t, err)
	assert.Equal(t, []byte{0x0a, 0x0d, 0x0d, 0x0a}, b[:4], "a section header")
}
