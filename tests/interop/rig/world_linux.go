package rig

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
)

// Addr is an address of the tests' world besides 127.0.0.1, on its loopback
// device. OpenAFS's servers take no address that begins with 127.0.
var Addr = netip.MustParseAddr("10.99.0.1")

// mark tells the process in the namespaces that it is there; "outside: why"
// that there are none.
const mark = "CNBUS_RIG_WORLD"

// Main runs the tests of a package in a world of their own, see the package's
// comment, and exits. TestMain calls it.
func Main(m *testing.M) { os.Exit(Run(m.Run)) }

// Run runs body in a world of its own, in another process of the same program
// with the same arguments, and returns what body returns. Where there can be no such
// world it runs body here; what needs one then skips its test.
func Run(body func() int) int {
	if os.Getenv(mark) == "inside" {
		if err := settle(); err != nil {
			_ = os.Setenv(mark, "outside: "+err.Error())
		}
		return body()
	}
	code, err := enter()
	if err != nil {
		_ = os.Setenv(mark, "outside: "+err.Error())
		return body()
	}
	return code
}

// enter runs this program again in new namespaces.
func enter() (code int, err error) {
	runtime.LockOSThread() // Pdeathsig looks at the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), mark+"=inside")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		UidMappings: sameIDs("/proc/self/uid_map", os.Getuid()),
		GidMappings: sameIDs("/proc/self/gid_map", os.Getgid()),
		Pdeathsig:   syscall.SIGKILL,
	}
	cmd.SysProcAttr.GidMappingsEnableSetgroups = os.Getuid() == 0
	// Ours are passed on, so that a test that hangs shows its stacks.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGINT)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return 0, fmt.Errorf("no namespaces: %w", err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 2, nil
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	fmt.Fprintln(os.Stderr, "rig: the tests' process:", cmd.ProcessState)
	return 2, nil
}

// sameIDs is a map in which root keeps all the ids that it has; anybody else becomes
// root there and has no other id.
func sameIDs(name string, id int) []syscall.SysProcIDMap {
	alone := []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	b, err := os.ReadFile(name)
	if err != nil || os.Getuid() != 0 {
		return alone
	}
	var ids []syscall.SysProcIDMap
	for line := range strings.Lines(string(b)) {
		var m syscall.SysProcIDMap
		var outside int
		if _, err := fmt.Sscan(line, &m.ContainerID, &outside, &m.Size); err != nil {
			return alone
		}
		m.HostID = m.ContainerID
		ids = append(ids, m)
	}
	return ids
}

// canChown reports whether there are more ids here than one.
func canChown() bool {
	ids := sameIDs("/proc/self/uid_map", 0)
	return len(ids) > 1 || len(ids) == 1 && ids[0].Size > 1
}

// settle furnishes the world.
func settle() error {
	// Nothing that is mounted here is to be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	// Where that is not allowed, /proc shows the processes of outside as well.
	_ = unix.Mount("proc", "/proc", "proc", 0, "")
	if err := unix.Sethostname([]byte("rig")); err != nil {
		return fmt.Errorf("a host name: %w", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", Addr.String() + "/32", "dev", "lo"}} {
		if out, err := ip(args...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// ip runs the command, which users do not always have in their path.
func ip(args ...string) ([]byte, error) {
	name, err := exec.LookPath("ip")
	if err != nil {
		name = "/sbin/ip"
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ip %v: %w", args, err)
	}
	return out, err
}

// World skips the test if it does not run in a world of its own.
func World(t testing.TB) {
	t.Helper()
	switch state := os.Getenv(mark); state {
	case "inside":
	case "":
		t.Fatal("rig: TestMain does not call rig.Main")
	default:
		testenv.Skip(t, "no namespaces for the interop rig ("+state+")")
	}
}
