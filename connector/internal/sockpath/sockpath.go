// Package sockpath says where the broker's socket is: the search order of
// docs/protocol.md, which the broker, its clients and the commands share.
package sockpath

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cnbus/cnbus/connector"
)

// Env is the environment variable that names the socket.
const Env = "CNBUS_SOCKET"

// Host is the socket of the host's broker.
const Host = "/run/cnbus/cnbus.sock"

// User returns the socket of the user's own broker: in $XDG_RUNTIME_DIR/cnbus,
// and without that variable in /tmp/cnbus-UID.
func User() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cnbus", "cnbus.sock")
	}
	return filepath.Join("/tmp", "cnbus-"+strconv.Itoa(os.Getuid()), "cnbus.sock")
}

// Listen returns the path at which a broker without configuration listens: what
// Env says, else the host's for root, else the user's.
func Listen() string {
	if p := os.Getenv(Env); p != "" {
		return p
	}
	if os.Getuid() == 0 {
		return Host
	}
	return User()
}

// Search returns the paths at which a client looks for a broker, in order. Where
// Env is set nothing else is looked at.
func Search() []string {
	if p := os.Getenv(Env); p != "" {
		return []string{p}
	}
	return []string{User(), Host}
}

// Find returns the first path of Search at which there is a socket that may be
// trusted. The error wraps connector.ErrNotFound and names the places looked at.
func Find() (string, error) {
	paths := Search()
	why := ""
	for _, p := range paths {
		err := Check(p)
		if err == nil {
			return p, nil
		}
		why += "; " + err.Error()
	}
	return paths[0], fmt.Errorf("no broker: %w%s", connector.ErrNotFound, why)
}

// Check says whether a socket is at path and not at a place where any user could
// have put it: /tmp is open to all, so a directory below it must be the
// user's own and closed to others.
func Check(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is not a socket", path)
	}
	if dir := filepath.Dir(path); filepath.Dir(dir) == "/tmp" && path == User() {
		return CheckDir(dir)
	}
	return nil
}

// CheckDir says whether dir is a real directory that belongs to the calling
// user and that nobody else may write to.
func CheckDir(dir string) error {
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !fi.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s may be written by other users (mode %v)", dir, fi.Mode().Perm())
	case !owned(fi):
		return fmt.Errorf("%s belongs to another user", dir)
	}
	return nil
}
