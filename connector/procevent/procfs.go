package procevent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cnbus/cnbus/connector"
)

// Enrich is a set of what is read from /proc for an event.
type Enrich uint32

const (
	EnrichExe     Enrich = 1 << iota // Info.Exe
	EnrichCmdline                    // Info.Cmdline
	EnrichCgroup                     // Info.Cgroup, Info.ContainerID
	EnrichUser                       // Info.UID, Info.GID

	// EnrichAll is all of it.
	EnrichAll = EnrichExe | EnrichCmdline | EnrichCgroup | EnrichUser
)

func (e Enrich) withDefaults() Enrich { return e & EnrichAll }

// Info is what /proc says about a process. It is shared between events and
// must not be changed.
type Info struct {
	Exe         string   // path of the program; "" where it may not be read
	Cmdline     []string // arguments, at most 4096 bytes of them
	Cgroup      string   // path in the (unified, else first) hierarchy
	ContainerID string   // from the cgroup's path
	UID, GID    uint32   // real ids
	Start       uint64   // start time in clock ticks since boot; with the id it names the process

	has Enrich
}

// process is Info and what the pid tree needs.
type process struct {
	Info
	parent  uint32
	threads int
}

const maxCmdline = 4096

// readProcess reads a process from the proc file system mounted at root. What
// may not be read is left empty; an error means that the process is gone.
func readProcess(root string, tgid uint32, what Enrich) (process, error) {
	dir := filepath.Join(root, strconv.FormatUint(uint64(tgid), 10))
	var p process
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return p, err
	}
	if p.parent, p.threads, p.Start, err = parseStat(stat); err != nil {
		return p, err
	}
	p.has = what
	if what&EnrichUser != 0 {
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return p, err
		}
		if p.UID, p.GID, err = parseStatus(status); err != nil {
			return p, err
		}
	}
	if what&EnrichCgroup != 0 {
		if b, err := os.ReadFile(dir + "/cgroup"); err == nil {
			p.Cgroup = parseCgroup(b)
			p.ContainerID = containerID(p.Cgroup)
		}
	}
	if what&EnrichExe != 0 {
		p.Exe, _ = os.Readlink(dir + "/exe")
	}
	if what&EnrichCmdline != 0 {
		p.Cmdline = readCmdline(dir + "/cmdline")
	}
	return p, nil
}

// parseStat reads ppid, number of threads and start time of /proc/PID/stat. The name in
// it is in parentheses and may have any byte, so the last one counts.
func parseStat(b []byte) (parent uint32, threads int, start uint64, err error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, 0, 0, badProc("stat")
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 20 {
		return 0, 0, 0, badProc("stat")
	}
	ppid, err1 := strconv.ParseUint(f[1], 10, 32)
	n, err2 := strconv.Atoi(f[17])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, 0, 0, badProc("stat")
	}
	return uint32(ppid), n, start, nil
}

// parseStatus reads the real ids of /proc/PID/status.
func parseStatus(b []byte) (uid, gid uint32, err error) {
	found := 0
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte{':'})
		var p *uint32
		switch string(name) {
		case "Uid":
			p = &uid
		case "Gid":
			p = &gid
		default:
			continue
		}
		f := bytes.Fields(rest)
		if len(f) == 0 {
			return 0, 0, badProc("status")
		}
		n, err := strconv.ParseUint(string(f[0]), 10, 32)
		if err != nil {
			return 0, 0, badProc("status")
		}
		*p = uint32(n)
		found++
	}
	if found != 2 {
		return 0, 0, badProc("status")
	}
	return uid, gid, nil
}

func badProc(file string) error {
	return fmt.Errorf("/proc/PID/%s has another format: %w", file, connector.ErrProtocol)
}

// parseCgroup reads the path of the unified hierarchy (0::), or of the first
// one, of /proc/PID/cgroup.
func parseCgroup(b []byte) string {
	first := ""
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		if f[0] == "0" && f[1] == "" && f[2] != "/" {
			return f[2]
		}
		if first == "" {
			first = f[2]
		}
	}
	return first
}

// containerID finds the id of a container in a cgroup's path: the 64 hexadecimal digits that
// Docker, containerd, CRI-O and Podman use, alone or within "docker-ID.scope"
// and the like, or the name of an LXC container.
func containerID(cgroup string) string {
	for rest := cgroup; rest != ""; {
		i := strings.LastIndexByte(rest, '/')
		name := rest[i+1:]
		rest = rest[:max(i, 0)]
		run := 0
		for j := 0; j <= len(name); j++ {
			if j < len(name) && (name[j] >= '0' && name[j] <= '9' || name[j] >= 'a' && name[j] <= 'f') {
				run++
				continue
			}
			if run == 64 {
				return name[j-64 : j]
			}
			run = 0
		}
		if lxc, ok := strings.CutPrefix(name, "lxc.payload."); ok {
			return lxc
		}
		if strings.HasSuffix(rest, "/lxc") && name != "" {
			return name
		}
	}
	return ""
}

func readCmdline(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, maxCmdline)
	n, _ := f.Read(b)
	b = bytes.TrimSuffix(b[:n], []byte{0})
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}
