// Package usernet runs a test in another process of the same binary: inside a
// private user and network namespace, where root's netlink rights cost no
// privilege, or as another user.
package usernet

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
)

// mark names, in the environment of the child, the test it is to run.
const mark = "CNBUS_USERNET_TEST"

// Inside reports whether this process is the child for t.
func Inside(t testing.TB) bool { return os.Getenv(mark) == t.Name() }

// Private runs body in a new user and network namespace of its own, as the user 0
// of it with all capabilities. The calling test passes, fails or is skipped as the
// child does. Where the system forbids such namespaces the test is skipped.
func Private(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	run(t, body, &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
}

// As runs body as user and group id, without capabilities, in the namespaces
// of the caller, which must be root.
func As(t *testing.T, id uint32, body func(t *testing.T)) {
	t.Helper()
	if !Inside(t) && os.Getuid() != 0 {
		testenv.Skip(t, "becoming another user needs root")
	}
	run(t, body, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id, NoSetGroups: false}})
}

// NewNet runs body in a new network namespace with the caller's user
// namespace; the caller must be root.
func NewNet(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if !Inside(t) && os.Getuid() != 0 {
		testenv.Skip(t, "a network namespace without a user namespace needs root")
	}
	run(t, body, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET})
}

func run(t *testing.T, body func(t *testing.T), attr *syscall.SysProcAttr) {
	t.Helper()
	if Inside(t) {
		body(t)
		return
	}
	// /proc/self/exe reaches the binary even where its directory is closed to
	// another user, as that of `go test` is to all but root.
	cmd := exec.Command("/proc/self/exe", "-test.run="+pattern(t.Name()), "-test.v", "-test.count=1", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.Dir = "/"
	if wd, err := os.Getwd(); err == nil && attr.Credential == nil {
		cmd.Dir = wd
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		testenv.Skip(t, "cannot start a process in other namespaces or as another user: "+err.Error())
	case err != nil:
		t.Fatalf("the test failed in its own process: %v\n%s", err, out.Bytes())
	case strings.Contains(out.String(), "--- SKIP: "+t.Name()+" "):
		testenv.Skip(t, "skipped in its own process:\n"+out.String())
	case !strings.Contains(out.String(), "--- PASS: "+t.Name()+" "):
		t.Fatalf("the test did not run in its own process:\n%s", out.Bytes())
	default:
		t.Logf("in its own process:\n%s", out.Bytes())
	}
}

// pattern selects exactly the test with that name.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}
