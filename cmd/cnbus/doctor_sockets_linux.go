package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// netlinkSocket is a line of /proc/net/netlink.
type netlinkSocket struct {
	protocol int
	port     uint32
	groups   uint32
	drops    uint64
	inode    string
}

// parseNetlink reads /proc/net/netlink. Lines of another form are left out.
func parseNetlink(r io.Reader) []netlinkSocket {
	var list []netlinkSocket
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		f := strings.Fields(sc.Text())
		if len(f) < 10 {
			continue
		}
		proto, err := strconv.Atoi(f[1])
		port, err1 := strconv.ParseUint(f[2], 10, 32)
		groups, err2 := strconv.ParseUint(f[3], 16, 32)
		drops, err3 := strconv.ParseUint(f[8], 10, 64)
		if err != nil || err1 != nil || err2 != nil || err3 != nil {
			continue // the heading
		}
		list = append(list, netlinkSocket{proto, uint32(port), uint32(groups), drops, f[9]})
	}
	return list
}

const (
	protoConnector = 11
	groupProc      = 1 // the bit of group 1
)

// procSockets are the sockets in the group of process events, other than the
// one with port own.
func procSockets(own uint32) ([]netlinkSocket, error) {
	f, err := os.Open("/proc/net/netlink")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []netlinkSocket
	for _, s := range parseNetlink(f) {
		if s.protocol == protoConnector && s.port != own && s.port != 0 && s.groups&groupProc != 0 {
			list = append(list, s)
		}
	}
	return list, nil
}

func countSockets(own uint32) int {
	list, _ := procSockets(own)
	return len(list)
}

// checkDrops says which socket in the group lost events.
func checkDrops(r *report, own uint32) {
	const check = "drops"
	list, err := procSockets(own)
	if err != nil {
		r.skip(check, err.Error())
		return
	}
	dropped := 0
	for _, s := range list {
		if s.drops > 0 {
			dropped++
			r.warn(check, fmt.Sprintf("%s has lost %s events", socketOwner("/proc", s), cli.Count(s.drops)),
				"it reads too slowly or its buffer is too small; cnbus proc shares one subscription with a large buffer")
		}
	}
	if dropped == 0 {
		r.ok(check, "no socket in the group has lost anything")
	}
}

// socketOwner names the process that holds a socket, as far as one may look.
func socketOwner(proc string, s netlinkSocket) string {
	want := "socket:[" + s.inode + "]"
	fds, _ := filepath.Glob(proc + "/[0-9]*/fd/*")
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && link == want {
			pid := strings.Split(strings.TrimPrefix(fd, proc+"/"), "/")[0]
			comm, _ := os.ReadFile(filepath.Join(proc, pid, "comm"))
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
		}
	}
	return fmt.Sprintf("the socket with port %d", s.port)
}
