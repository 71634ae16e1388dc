package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cnbus/cnbus/connector/procevent"
)

// procSeen is what is known of a process.
type procSeen struct {
	parent uint32
	start  time.Duration // since boot; 0 for one that was there before
	exe    string
	args   []string
	gone   bool // it ended before it could be looked at
}

// String is the command line, shortened for a line of output.
func (p *procSeen) String() string {
	if p == nil {
		return ""
	}
	if p.gone {
		return "(gone)"
	}
	s := strings.Join(p.args, " ")
	if s == "" {
		s = p.exe
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	const width = 100
	if r := []rune(s); len(r) > width {
		s = string(r[:width-1]) + "…"
	}
	return s
}

// procNames follows which process runs what. /proc is looked at when a process
// begins to run a program; who has ended before that keeps its parent's name.
type procNames struct {
	root string
	m    map[uint32]*procSeen
}

func newProcNames(root string) *procNames {
	return &procNames{root: root, m: make(map[uint32]*procSeen)}
}

// see learns from an event and returns what is known of its process.
func (n *procNames) see(e *procevent.Event) *procSeen {
	switch e.Kind {
	case procevent.Lost:
		clear(n.m) // ends may be among what is missing
		return nil
	case procevent.Fork:
		if !e.IsThread() {
			child := *n.get(e.ParentTgid)
			child.parent, child.start = e.ParentTgid, e.Time
			n.m[e.Tgid] = &child
		}
	case procevent.Exec:
		p := *n.get(e.Tgid)
		p.exe, p.args = n.read(e.Tgid)
		p.gone = n.root != "" && p.exe == "" && p.args == nil
		n.m[e.Tgid] = &p
	}
	p := n.get(e.Tgid)
	if e.Info != nil && len(e.Info.Cmdline) > 0 {
		p.exe, p.args, p.gone = e.Info.Exe, e.Info.Cmdline, false
	}
	return p
}

// done forgets a process that ended.
func (n *procNames) done(e *procevent.Event) {
	if e.Kind == procevent.Exit && !e.IsThread() {
		delete(n.m, e.Tgid)
	}
}

func (n *procNames) get(tgid uint32) *procSeen {
	if p, ok := n.m[tgid]; ok {
		return p
	}
	p := &procSeen{}
	p.exe, p.args = n.read(tgid)
	p.parent = n.parent(tgid)
	n.m[tgid] = p
	return p
}

// read returns program and arguments of a process; nothing when it has gone, or is on another host.
func (n *procNames) read(tgid uint32) (exe string, args []string) {
	if n.root == "" {
		return "", nil
	}
	dir := filepath.Join(n.root, strconv.FormatUint(uint64(tgid), 10))
	exe, _ = os.Readlink(dir + "/exe")
	b, _ := os.ReadFile(dir + "/cmdline")
	if b = bytes.TrimRight(b, "\x00"); len(b) > 0 {
		const limit = 4096
		args = strings.Split(string(b[:min(len(b), limit)]), "\x00")
	} else if b, err := os.ReadFile(dir + "/comm"); err == nil && exe == "" {
		exe = "[" + strings.TrimSpace(string(b)) + "]" // a kernel thread
	}
	return exe, args
}

func (n *procNames) parent(tgid uint32) uint32 {
	if n.root == "" {
		return 0
	}
	b, err := os.ReadFile(filepath.Join(n.root, strconv.FormatUint(uint64(tgid), 10), "stat"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	p, _ := strconv.ParseUint(f[1], 10, 32)
	return uint32(p)
}

// depth is how many ancestors of a process began since the output did.
func (n *procNames) depth(tgid uint32) int {
	d := 0
	for p := n.m[tgid]; p != nil && p.start != 0 && d < 32; p = n.m[p.parent] {
		d++
	}
	return max(d-1, 0)
}
