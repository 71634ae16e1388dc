//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// bin is the directory of the built programs; everybody may read it.
var bin string

// nobody is who runs the programs when the tests run as root; nil otherwise.
var nobody *syscall.Credential

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cnbus-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func setUp() error {
	if err := os.Chmod(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"cnbus", "cn-test"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), "github.com/cnbus/cnbus/cmd/"+name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	nobody = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return err
}
