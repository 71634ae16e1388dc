package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/procevent"
)

// fakeProc writes a process into a /proc of the test's own.
func fakeProc(t *testing.T, root, pid, cmdline, stat string) {
	t.Helper()
	dir := filepath.Join(root, pid)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/cmdline", []byte(cmdline), 0o644))
	require.NoError(t, os.WriteFile(dir+"/stat", []byte(stat), 0o644))
}

// A child has its parent's name until it runs something itself, and a depth
// below its parent if that one was seen to begin.
func TestProcNames(t *testing.T) {
	root := t.TempDir()
	fakeProc(t, root, "10", "make\x00all\x00", "10 (ma) ke) S 1 10")
	n := newProcNames(root)
	fork := func(child, parent uint32) *procSeen {
		return n.see(&procevent.Event{Kind: procevent.Fork, Pid: child, Tgid: child, ParentPid: parent, ParentTgid: parent, Time: time.Second})
	}
	assert.Equal(t, "make all", fork(11, 10).String())
	assert.Equal(t, 0, n.depth(11), "its parent was there before")
	assert.EqualValues(t, 1, n.get(10).parent)
	fork(12, 11)
	assert.Equal(t, 1, n.depth(12))

	fakeProc(t, root, "12", "cc\x00-c\x00a\nb\x00", "12 (cc) S 11 12")
	exec := n.see(&procevent.Event{Kind: procevent.Exec, Pid: 12, Tgid: 12})
	assert.Equal(t, "cc -c a b", exec.String(), "nobody's name breaks the line")
	assert.Equal(t, time.Second, exec.start)

	fork(13, 12)
	assert.Equal(t, "cc -c a b", n.get(13).String())
	assert.Equal(t, "(gone)", n.see(&procevent.Event{Kind: procevent.Exec, Pid: 13, Tgid: 13}).String(), "what it ran nobody knows")

	end := &procevent.Event{Kind: procevent.Exit, Pid: 12, Tgid: 12}
	assert.Equal(t, "cc -c a b", n.see(end).String())
	n.done(end)
	assert.NotContains(t, n.m, uint32(12))

	n.see(&procevent.Event{Kind: procevent.Lost, Count: 5})
	assert.Empty(t, n.m, "after a loss nothing is known any more")

	long := &procSeen{args: []string{strings.Repeat("ü", 500)}}
	assert.Len(t, []rune(long.String()), 100)
}
