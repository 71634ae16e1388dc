//go:build linux

package openafs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tests/interop/fetched"
)

// inRoot is where the unpacked packages are in a root directory.
const inRoot = "/openafs"

// A root is a directory that programs of OpenAFS take for the root of the file
// system: the system's programs and libraries, the unpacked packages, the
// temporary directory, and an /etc, a /var and a /vicepa of its own.
type root struct {
	dir string
	env []string
}

// newRoot makes a root of mounts, of which it needs the right. The CellServDB
// in it names the database server at addr.
func newRoot(addr netip.Addr) (_ *root, err error) {
	unpacked, err := fetched.OpenAFS()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "openafs-root-")
	if err != nil {
		return nil, err
	}
	r := &root{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return nil, fmt.Errorf("mounting a tmpfs (the package rig makes that possible): %w", err)
	}
	for _, system := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", os.TempDir()} {
		if err := r.show(system, system); err != nil {
			return nil, err
		}
	}
	if err := r.show(unpacked, inRoot); err != nil {
		return nil, err
	}
	multiarch, err := filepath.Glob(filepath.Join(unpacked, "usr/lib/*-linux-gnu*"))
	if err != nil || len(multiarch) == 0 {
		return nil, fmt.Errorf("openafs: no libraries in %s", unpacked)
	}
	r.env = []string{
		"LD_LIBRARY_PATH=" + filepath.Join(inRoot, "usr/lib", filepath.Base(multiarch[0])),
		"PATH=" + inRoot + "/usr/bin:" + inRoot + "/usr/sbin:/usr/bin:/bin", "HOME=/", "LC_ALL=C", "TZ=UTC",
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return r, r.configure(name, addr)
}

// show makes a directory of the system visible in the root.
func (r *root) show(from, to string) error {
	target := filepath.Join(r.dir, to)
	if link, err := os.Readlink(from); err == nil {
		return os.Symlink(link, target)
	}
	info, err := os.Stat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // such as /lib64
	}
	if err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no directory: %w", from, err)
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	// What a less privileged namespace has inherited it may only show as a whole.
	if err := unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("showing %s: %w", from, err)
	}
	return nil
}

// configure writes what commands and servers both need. They ask who has the
// host's own name, and take the answer for their address.
func (r *root) configure(host string, addr netip.Addr) error {
	servers := fmt.Sprintf(">%s #rig\n%s #%s\n", CellName, addr, host)
	files := map[string]string{
		"etc/passwd":                    "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
		"etc/group":                     "root:x:0:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf":             "hosts: files\nservices: files\n",
		"etc/hosts":                     fmt.Sprintf("%s %s\n127.0.0.1 localhost\n", addr, host),
		"etc/krb5.conf":                 "[libdefaults]\ndefault_realm = RIG.TEST\ndns_lookup_kdc = false\ndns_lookup_realm = false\n",
		"etc/openafs/ThisCell":          CellName + "\n",
		"etc/openafs/CellServDB":        servers,
		"etc/openafs/server/ThisCell":   CellName + "\n",
		"etc/openafs/server/CellServDB": servers,
		"etc/openafs/server/UserList":   "",
	}
	for name, content := range files {
		if err := r.write(name, content); err != nil {
			return err
		}
	}
	for _, dir := range []string{"var/lib/openafs/local", "var/lib/openafs/db", "var/log/openafs", "var/run", "run"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (r *root) write(name, content string) error {
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// command is a program of OpenAFS in the root.
func (r *root) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	path, err := program(filepath.Join(r.dir, inRoot), name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(inRoot, path), args...)
	cmd.Env = r.env
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	return cmd, nil
}

// run runs a command in the root to its end.
func (r *root) run(ctx context.Context, name string, args ...string) (Result, error) {
	cmd, err := r.command(ctx, name, args...)
	if err != nil {
		return Result{}, err
	}
	return run(ctx, cmd)
}

func (r *root) close() error {
	err := unix.Unmount(r.dir, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) { // it never was one
		err = nil
	}
	return errors.Join(err, os.Remove(r.dir))
}
