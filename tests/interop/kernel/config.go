package kernel

import (
	"embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cnbus/cnbus/tests/interop/fetched"
)

// The kernels that install.sh fetches.
const (
	Oldest = "6.1"
	Stable = "6.12"
	Newest = "newest" // of Debian's backports
)

// A Network is how a machine is joined to its host.
type Network string

const (
	// Tap joins it to the host's network namespace, where the caller must be
	// allowed to make devices: host and guest reach each other's ports, there is
	// ICMP, and IPv6.
	Tap Network = "tap"
	// Slirp needs no right: the host reaches the ports that are forwarded, the
	// guest finds the host's loopback at SlirpHost. No ICMP, no IPv6.
	Slirp Network = "slirp"
	// None leaves the guest alone.
	None Network = "none"
)

// SlirpHost is the host's loopback address for a guest with Slirp.
const SlirpHost = "10.0.2.2"

// Config says what machine to boot.
type Config struct {
	Flavour     string            // "" is Stable
	Network     Network           // "" is Tap
	Forward     []uint16          // Slirp: the guest's UDP ports that the host is to reach
	Files       map[string]string // name in the guest's /rig, and the host's file
	MTU         int               // of the interface between host and guest; 0 is 1500
	LoopbackMTU int               // of the guest's loopback; 0 leaves it
	Modules     []string          // sets of further modules: "kafs", "netem"
	Memory      int               // MiB; 0 is 256
	Capture     string            // Tap: pcap file of all UDP and ICMP between host and guest
}

//go:embed guest
var guest embed.FS

// initrd writes the guest's file system: what install.sh has made of the
// kernel's packages, and over it what this machine is told.
func (c *Config) initrd(dir, kernel string, net link) (string, error) {
	base, err := os.ReadFile(filepath.Join(kernel, "initrd.img"))
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "initrd")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// The kernel ignores an archive that follows at another boundary.
	if _, err := f.Write(append(base, make([]byte, -len(base)&3)...)); err != nil {
		return "", err
	}

	init, err := guest.ReadFile("guest/init")
	if err != nil {
		return "", err
	}
	kx, err := builtKX()
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(kx)
	if err != nil {
		return "", err
	}
	env := net.guestEnv() + fmt.Sprintf("RIG_MODS='%s'\n", strings.Join(c.Modules, " "))
	if c.MTU != 0 {
		env += fmt.Sprintf("RIG_MTU=%d\n", c.MTU)
	}
	if c.LoopbackMTU != 0 {
		env += fmt.Sprintf("RIG_LOMTU=%d\n", c.LoopbackMTU)
	}
	a := &cpio{w: f}
	a.add("init", cpioExec, init)
	a.add("bin/kx", cpioExec, program)
	a.add("rig", cpioDir, nil)
	a.add("rig/env", cpioFile, []byte(env))
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		b, err := os.ReadFile(c.Files[name])
		if err != nil {
			return "", err
		}
		a.add("rig/"+name, cpioExec, b)
	}
	if err := a.close(); err != nil {
		return "", err
	}
	return name, f.Close()
}

var builtKX = sync.OnceValues(buildKX)

// buildKX builds kx for the guest, which has no C library.
func buildKX() (string, error) {
	dir, err := fetched.Dir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(dir, "kx-*")
	if err != nil {
		return "", err
	}
	out.Close()
	defer os.Remove(out.Name())
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out.Name(), "github.com/cnbus/cnbus/tests/interop/kernel/kx")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOOS=linux", "GOARCH=amd64")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building kx: %w\n%s", err, b)
	}
	// Processes that build it at the same time build the same.
	name := filepath.Join(dir, "kx")
	return name, os.Rename(out.Name(), name)
}
