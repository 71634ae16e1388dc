package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const netlinkTable = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000905749a9 11  0          00000000 0        0        0     2        0        1026
0000000012345678 11  4021       00000001 832      0        0     2        1544     77001
0000000087654321 0   4021       00000111 0        0        0     2        0        77002
bad line
`

func TestParseNetlink(t *testing.T) {
	assert.Equal(t, []netlinkSocket{
		{11, 0, 0, 0, "1026"}, {11, 4021, 1, 1544, "77001"}, {0, 4021, 0x111, 0, "77002"},
	}, parseNetlink(strings.NewReader(netlinkTable)))
}

func FuzzParseNetlink(f *testing.F) {
	f.Add(netlinkTable)
	f.Add("1 2 3 4 5 6 7 8 9 10\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, k := range parseNetlink(strings.NewReader(s)) {
			require.NotEmpty(t, k.inode)
		}
	})
}

// The process that holds a socket is found by its inode.
func TestSocketOwner(t *testing.T) {
	proc := t.TempDir()
	fd := filepath.Join(proc, "4021", "fd")
	require.NoError(t, os.MkdirAll(fd, 0o755))
	require.NoError(t, os.Symlink("socket:[77001]", filepath.Join(fd, "5")))
	require.NoError(t, os.WriteFile(filepath.Join(proc, "4021", "comm"), []byte("forkstat\n"), 0o644))
	assert.Equal(t, "forkstat (pid 4021)", socketOwner(proc, netlinkSocket{inode: "77001", port: 9}))
	assert.Equal(t, "the socket with port 9", socketOwner(proc, netlinkSocket{inode: "1", port: 9}))
}
