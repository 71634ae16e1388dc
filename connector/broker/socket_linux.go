package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector/internal/sockpath"
	"github.com/cnbus/cnbus/tsocket"
)

// socketLock is the right to the socket's path: a locked file beside it, so
// that two brokers that start together cannot both think the socket is stale.
type socketLock struct {
	path string
	file *os.File
}

// openSocket listens on path ("" for the user's default). A socket that a
// dead broker left is replaced; one that a living broker serves is an error that
// wraps EADDRINUSE.
func openSocket(path string) (*tsocket.Listener, *socketLock, error) {
	if path == "" {
		path = sockpath.Listen()
		if os.Getenv(sockpath.Env) == "" { // where the user names a place, it is the user's
			if err := makeDir(filepath.Dir(path)); err != nil {
				return nil, nil, err
			}
		}
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, nil, err
	}
	ln, err := bindSocket(path)
	if err != nil {
		lock.close()
		return nil, nil, err
	}
	return ln, lock, nil
}

// makeDir makes the directory of a default path: closed to others for a
// user's own broker, open for the host's.
func makeDir(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("broker: %w", err)
	}
	if err := sockpath.CheckDir(dir); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

func lockSocket(path string) (*socketLock, error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("broker: lock %s: %w", name, err)
		}
		who := ""
		var b [32]byte
		if n, _ := f.ReadAt(b[:], 0); n > 0 {
			who = " (pid " + strings.TrimSpace(string(b[:n])) + ")"
		}
		return nil, fmt.Errorf("broker: another broker%s already serves %s: %w", who, path, unix.EADDRINUSE)
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0) // for people only
	return &socketLock{path: path, file: f}, nil
}

// bindSocket binds and listens; we hold the lock, so what is in the way and
// answers is another program's.
func bindSocket(path string) (*tsocket.Listener, error) {
	addr, err := tsocket.UnixAddr(path)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	cfg := &tsocket.ListenConfig{
		Backlog:  4096,
		KeepPath: true,  // the lock's owner removes it
		Mode:     0o666, // the policy decides, not the mode
	}
	ln, err := tsocket.ListenUnix(addr, cfg)
	if errors.Is(err, unix.EADDRINUSE) {
		if err = removeStale(addr); err == nil {
			ln, err = tsocket.ListenUnix(addr, cfg)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("broker: listen on %s: %w", path, err)
	}
	return ln, nil
}

// removeStale removes the socket of a broker that is no more.
func removeStale(addr tsocket.Addr) error {
	st, err := os.Lstat(addr.Path())
	if err != nil {
		return err
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("a file that is no socket is in the way: %w", unix.EADDRINUSE)
	}
	s, err := tsocket.DialUnix(context.Background(), tsocket.Addr{}, addr)
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("another program serves it: %w", unix.EADDRINUSE)
	}
	return os.Remove(addr.Path())
}

// release removes the socket and gives the path free. The lock file stays: to
// remove it would let two brokers lock two files of one name.
func (l *socketLock) release() {
	_ = os.Remove(l.path)
	l.close()
}

func (l *socketLock) close() { l.file.Close() }
