package kernel

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/tests/interop/fetched"
)

// A Machine is a running virtual machine.
type Machine struct {
	Release string // of its kernel

	link    link
	forward map[uint16]netip.AddrPort
	dir     string
	qemu    *exec.Cmd
	dump    *exec.Cmd
	stdin   io.WriteCloser
	done    chan struct{} // closed when qemu has ended
	close   sync.Once
	closed  error

	mu      sync.Mutex // guards what follows, and writes to stdin
	changed chan struct{}
	log     []byte // what is on the console and belongs to no command
	cmds    map[int]*Cmd
}

var (
	readyLine = regexp.MustCompile(`(?m)^RIG: ready, (\S+),`)
	taggedRE  = regexp.MustCompile(`^@(\d+) (.*)$`)
)

// Start boots a machine and waits until it takes commands. ctx bounds only the
// start.
func Start(ctx context.Context, cfg Config) (_ *Machine, err error) {
	if cfg.Flavour == "" {
		cfg.Flavour = Stable
	}
	if cfg.Memory == 0 {
		cfg.Memory = 256
	}
	image, err := fetched.Kernel(cfg.Flavour)
	if err != nil {
		return nil, err
	}
	m := &Machine{
		forward: map[uint16]netip.AddrPort{}, done: make(chan struct{}), changed: make(chan struct{}), cmds: map[int]*Cmd{},
	}
	if m.dir, err = os.MkdirTemp("", "kernel-rig-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("booting kernel %s: %w\n%s", cfg.Flavour, err, m.Console()), m.Close())
		}
	}()
	network, err := m.network(&cfg)
	if err != nil {
		return nil, err
	}
	initrd, err := cfg.initrd(m.dir, image, m.link)
	if err != nil {
		return nil, err
	}
	if cfg.Capture != "" && m.link.n != 0 {
		if err := m.capture(ctx, cfg.Capture); err != nil {
			return nil, err
		}
	}
	accel := os.Getenv("CNBUS_RIG_ACCEL") // "kvm", where that works
	if accel == "" {
		accel = "tcg"
	}
	args := append([]string{
		"-accel", accel, "-cpu", "max", "-m", strconv.Itoa(cfg.Memory), "-display", "none", "-no-reboot", "-nodefaults",
		"-serial", "stdio", "-device", "virtio-rng-pci", "-kernel", filepath.Join(image, "vmlinux"), "-initrd", initrd,
		// The TSC is calibrated at boot, wrongly where qemu stands still meanwhile: time would run several times too fast.
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on tsc=reliable clocksource=hpet " +
			"no_timer_check nowatchdog audit=0 rdinit=/init",
	}, network...)
	m.qemu = exec.Command("qemu-system-x86_64", args...)
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the tests
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	m.qemu.Stdout, m.qemu.Stderr = in, in
	if m.stdin, err = m.qemu.StdinPipe(); err == nil {
		err = m.qemu.Start()
	}
	in.Close()
	if err != nil {
		out.Close()
		m.qemu = nil
		return nil, err
	}
	go m.read(out)
	line, err := m.await(ctx, nil, readyLine)
	if err != nil {
		return nil, err
	}
	m.Release = line[1]
	return m, nil
}

func (m *Machine) network(cfg *Config) (args []string, err error) {
	switch cfg.Network {
	case "", Tap:
		if m.link, err = newTap(cfg.MTU); err != nil {
			return nil, err
		}
		// Without offloads: true checksums on the wire and in captures.
		dev := "virtio-net-pci,netdev=n0,romfile=,csum=off,gso=off,guest_csum=off"
		if cfg.MTU != 0 {
			dev += fmt.Sprintf(",host_mtu=%d", cfg.MTU)
		}
		return []string{"-netdev", "tap,id=n0,ifname=" + m.link.dev() + ",script=no,downscript=no,vnet_hdr=off", "-device", dev}, nil
	case Slirp:
		user := "user,id=n0"
		for _, port := range cfg.Forward {
			at, err := freePort()
			if err != nil {
				return nil, err
			}
			m.forward[port] = at
			user += fmt.Sprintf(",hostfwd=udp:%v-:%d", at, port)
		}
		return []string{"-netdev", user, "-device", "virtio-net-pci,netdev=n0,romfile="}, nil
	case None:
		return nil, nil
	default:
		return nil, fmt.Errorf("no network %q", cfg.Network)
	}
}

// capture starts tcpdump, and waits until it listens.
func (m *Machine) capture(ctx context.Context, file string) error {
	name, err := exec.LookPath("tcpdump")
	if err != nil {
		name = "/usr/sbin/tcpdump"
	}
	m.dump = exec.CommandContext(ctx, name, "-Z", "root", "-i", m.link.dev(), "-U", "-nn", "--immediate-mode", "-B", "65536", "-w", file,
		"udp or icmp or icmp6 or ip[6:2] & 0x1fff != 0")
	m.dump.Cancel = nil
	errs, err := m.dump.StderrPipe()
	if err == nil {
		err = m.dump.Start()
	}
	if err != nil {
		m.dump = nil
		return err
	}
	line, err := bufio.NewReader(errs).ReadString('\n')
	if err != nil || !strings.Contains(line, "listening") {
		return fmt.Errorf("tcpdump: %w: %s", err, line)
	}
	go func() { _, _ = io.Copy(io.Discard, errs) }()
	return nil
}

// Addr is the guest's address: IPv4, with a Tap.
func (m *Machine) Addr() netip.Addr { return m.link.peer }

// Host is the host's address for the guest, with a Tap.
func (m *Machine) Host() netip.Addr { return m.link.host }

// Addr6 is the guest's IPv6 address.
func (m *Machine) Addr6() netip.Addr { return m.link.peer6 }

// Host6 is the host's IPv6 address for the guest.
func (m *Machine) Host6() netip.Addr { return m.link.host6 }

// Port is where the host reaches the guest's UDP port: with Slirp one that was
// to be forwarded.
func (m *Machine) Port(guest uint16) netip.AddrPort {
	if a, ok := m.forward[guest]; ok {
		return a
	}
	return netip.AddrPortFrom(m.link.peer, guest)
}

// Console is what the machine said that belongs to no command.
func (m *Machine) Console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.log)
}

// read takes the console apart until qemu ends.
func (m *Machine) read(console *os.File) {
	defer console.Close()
	lines := bufio.NewReader(console)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		m.mu.Lock()
		if tagged := taggedRE.FindStringSubmatch(line); tagged != nil {
			id, _ := strconv.Atoi(tagged[1])
			if c := m.cmds[id]; c != nil {
				c.line(tagged[2])
			}
		} else if line != "" {
			m.log = append(append(m.log, line...), '\n')
		}
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
		if err != nil {
			_ = m.qemu.Wait()
			close(m.done)
			return
		}
	}
}

// await waits until what c said, or the console where c is nil, matches.
func (m *Machine) await(ctx context.Context, c *Cmd, re *regexp.Regexp) ([]string, error) {
	for ended := false; ; {
		m.mu.Lock()
		text := m.log
		if c != nil {
			text = c.out
		}
		found := re.FindSubmatch(text)
		over := c != nil && c.ended
		changed := m.changed
		m.mu.Unlock()
		switch {
		case found != nil:
			all := make([]string, len(found))
			for i, f := range found {
				all[i] = string(f)
			}
			return all, nil
		case over:
			return nil, fmt.Errorf("the command ended without %q:\n%s", re, text)
		case ended:
			return nil, fmt.Errorf("the machine ended without %q:\n%s", re, text)
		}
		select {
		case <-changed:
		case <-m.done:
			ended = true // one more look
		case <-ctx.Done():
			return nil, fmt.Errorf("no %q: %w:\n%s", re, context.Cause(ctx), text)
		}
	}
}

// Start starts a command, for busybox's shell. It may have up to 3000 bytes.
func (m *Machine) Start(command string) (*Cmd, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Cmd{m: m, id: len(m.cmds) + 1, command: command}
	line := fmt.Sprintf("run %d %s\n", c.id, base64.StdEncoding.EncodeToString([]byte(command)))
	if len(line) > 4000 { // what a terminal takes for one line
		return nil, fmt.Errorf("the command is too long: %d bytes", len(command))
	}
	m.cmds[c.id] = c
	_, err := io.WriteString(m.stdin, line)
	return c, err
}

// Run runs a command to its end and returns what it printed and its status.
func (m *Machine) Run(ctx context.Context, command string) (out string, status int, err error) {
	c, err := m.Start(command)
	if err != nil {
		return "", 0, err
	}
	return c.Wait(ctx)
}

// Kill ends the machine at once, as a loss of power does.
func (m *Machine) Kill() { _ = m.qemu.Process.Kill(); <-m.done }

// Close ends the machine and removes what was made for it.
func (m *Machine) Close() error {
	m.close.Do(func() {
		if m.qemu != nil {
			_ = m.qemu.Process.Signal(syscall.SIGTERM)
			kill := time.AfterFunc(5*time.Second, func() { _ = m.qemu.Process.Kill() })
			<-m.done
			kill.Stop()
			_ = m.stdin.Close()
		}
		if m.dump != nil {
			_ = m.dump.Process.Signal(syscall.SIGTERM)
			_ = m.dump.Wait()
		}
		m.closed = errors.Join(m.link.close(), os.RemoveAll(m.dir))
	})
	return m.closed
}
