//go:build linux

package interop

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// A cell of ours: VL, PR and BOZO on their ports at rig.Addr.
type ourCell struct {
	vl    *afs.VLDB
	bozo  *afs.BOZO
	files string // a directory that the commands see
	rig.Commands
}

// serveCell serves a cell that has two file servers and many volumes.
func serveCell(t *testing.T) *ourCell {
	t.Helper()
	other := netip.MustParseAddr("10.99.0.2")
	c := &ourCell{
		vl: &afs.VLDB{Servers: []afs.Server{
			{UUID: [16]byte{1, 15: 1}, Unique: 1, Addrs: []netip.Addr{rig.Addr}},
			{UUID: [16]byte{2, 15: 2}, Unique: 1, Addrs: []netip.Addr{other, netip.MustParseAddr("10.99.0.3")}},
		}},
		bozo:  &afs.BOZO{Cell: openafs.CellName, Processes: []afs.Process{{Name: "vlserver", Status: afs.ProcessStatus{Goal: 1, FileGoal: 1, Started: 1_700_000_000, Starts: 1}}}},
		files: t.TempDir(),
	}
	for i := range 250 {
		id := uint32(536870912 + 3*i)
		c.vl.Volumes = append(c.vl.Volumes, afs.Volume{
			Name: "vol." + decimal(i), ID: [3]uint32{id, id + 1, id + 2},
			Sites: []afs.Site{{Server: i % 2, Partition: int32(i % 3), Flags: afs.SiteReadWrite}},
		})
	}
	vote := (&afs.Vote{Addr: rig.Addr, Start: time.Now()}).Service()
	for port, services := range map[uint16][]*afs.Service{
		afs.VLPort: {c.vl.Service(), vote}, afs.PRPort: {afs.NewPRDB().Service(), vote}, afs.BOZOPort: {c.bozo.Service()},
	} {
		s := rxrpc.NewServer(open(t, netip.AddrPortFrom(rig.Addr, port), nil), nil)
		t.Cleanup(func() { _ = s.Close() })
		for _, service := range services {
			require.NoError(t, s.Handle(service.ID, afsrx.Handler(service)))
		}
	}
	c.Commands = rig.OpenAFSCommands(t, rig.Addr, nil)
	return c
}

// TestVosAsksUs has vos list what our VL service knows.
func TestVosAsksUs(t *testing.T) {
	c := serveCell(t)
	all := c.Must(t, "vos", "listvldb", "-noauth", "-noresolve")
	assert.Contains(t, all, "Total entries: 250")
	for _, v := range c.vl.Volumes {
		assert.Contains(t, all, "\n"+v.Name+" \n")
	}
	assert.Contains(t, c.Must(t, "vos", "listvldb", "-server", rig.Addr.String(), "-noauth", "-noresolve"), "Total entries: 125")
	assert.Contains(t, c.Must(t, "vos", "listvldb", "-server", rig.Addr.String(), "-partition", "b", "-noauth", "-noresolve"), "Total entries: 41")
	assert.Contains(t, c.Must(t, "vos", "listvldb", "-name", "vol.7", "-noauth", "-noresolve"), "RWrite: 536870933")
	none := c.Run(t, "vos", "listvldb", "-name", "nothing", "-noauth")
	assert.Contains(t, none.Both(), "no such entry")
	addrs := c.Must(t, "vos", "listaddrs", "-noauth", "-noresolve", "-printuuid")
	for _, s := range c.vl.Servers {
		for _, a := range s.Addrs {
			assert.Contains(t, addrs, a.String())
		}
	}
}

// TestPtsAsksUs has pts make and look at users and groups.
func TestPtsAsksUs(t *testing.T) {
	c := serveCell(t)
	pts := func(args ...string) string { t.Helper(); return c.Must(t, "pts", append(args, "-noauth")...) }
	assert.Contains(t, pts("createuser", "joe"), "User joe has id 1")
	assert.Contains(t, pts("createuser", "jim", "-id", "77"), "User jim has id 77")
	assert.Contains(t, pts("creategroup", "staff", "-owner", "system:administrators"), "group staff has id -206")
	pts("adduser", "joe", "staff")
	pts("adduser", "jim", "staff")
	members := pts("membership", "staff")
	assert.Contains(t, members, "joe")
	assert.Contains(t, members, "jim")
	assert.Contains(t, pts("membership", "joe"), "staff")
	assert.Contains(t, pts("examine", "joe"), "Name: joe, id: 1, owner: system:administrators")
	assert.Regexp(t, `(?m)^joe +1 +-204`, pts("listentries"))
	assert.Regexp(t, `(?m)^staff +-206 `, pts("listentries", "-groups"))
	assert.Contains(t, pts("listmax"), "Max user id is 77 and max group id is -206")
	pts("removeuser", "jim", "staff")
	assert.NotContains(t, pts("membership", "staff"), "jim")
	pts("delete", "joe")
	gone := c.Run(t, "pts", "examine", "joe", "-noauth")
	assert.Contains(t, gone.Both(), "doesn't exist")
	again := c.Run(t, "pts", "createuser", "jim", "-noauth")
	assert.Contains(t, again.Both(), "Entry for name already exists")
}

// TestBosAsksUs has bos ask for processes, and move files of many packets both
// ways.
func TestBosAsksUs(t *testing.T) {
	c := serveCell(t)
	addr := rig.Addr.String()
	assert.Contains(t, c.Must(t, "bos", "status", addr, "-noauth"), "Instance vlserver, currently running normally")
	assert.Contains(t, c.Must(t, "bos", "status", addr, "vlserver", "-long", "-noauth"), "Process last started")
	unknown := c.Run(t, "bos", "status", addr, "nobody", "-noauth")
	assert.Contains(t, unknown.Both(), "no such entity")

	text := []byte(strings.Repeat("a line of a log\n", 1_000_000/16))
	c.bozo.SetFile("/log", text)
	assert.True(t, strings.HasSuffix(c.Must(t, "bos", "getlog", addr, "/log", "-noauth"), string(text)))

	file := filepath.Join(c.files, "program")
	content := bytes.Repeat([]byte("\x00\x01\xffbinary"), 5_000_000/9)
	require.NoError(t, os.WriteFile(file, content, 0o755))
	assert.Contains(t, c.Must(t, "bos", "install", addr, file, "-dir", "/bin", "-noauth"), "installed file")
	got, ok := c.bozo.File("/bin/program")
	require.True(t, ok)
	assert.True(t, bytes.Equal(content, got))
}

// TestDebuggersAskUs has udebug and rxdebug look at us.
func TestDebuggersAskUs(t *testing.T) {
	serveCell(t)
	for _, port := range []uint16{afs.VLPort, afs.PRPort} {
		at := netip.AddrPortFrom(rig.Addr, port)
		state := rig.UDebug(t, at, "-long")
		assert.Contains(t, state, "I am sync site")
		assert.Contains(t, state, "Recovery state 1f")
		assert.Contains(t, rig.RxDebug(t, at, "-version"), "cnbus")
		assert.Contains(t, rig.RxDebug(t, at, "-allconnections"), "Connection from host")
	}
}
