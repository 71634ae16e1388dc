package tsocket

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A sockFile is the file that a unix socket of ours was bound to. Its path may be somebody else's meanwhile, or a symbolic link to
// anything, where others may write to the directory: so it is known by its inode, which the socket keeps from being used again, and nothing else is touched.
type sockFile struct {
	path     string
	dev, ino uint64
	fd       int // keeps the inode as well, where a file can be opened by O_PATH; or -1
}

// noFile is of a socket that has none.
var noFile = sockFile{fd: -1}

// findSockFile finds the file of a socket that was bound a moment ago.
func findSockFile(local Addr) (sockFile, error) {
	if local.kind != addrUnix || local.path == "" {
		return noFile, nil
	}
	fd, st, err := openPath(local.path)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid()) {
		closeFD(fd)
		err = unix.ESTALE // it was replaced
	}
	if err != nil {
		return noFile, err
	}
	return sockFile{local.path, uint64(st.Dev), uint64(st.Ino), fd}, nil
}

// let closes the descriptor.
func (f *sockFile) let() {
	closeFD(f.fd)
	f.fd = -1
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func (f *sockFile) is(st *unix.Stat_t) bool {
	return uint64(st.Dev) == f.dev && uint64(st.Ino) == f.ino && st.Mode&unix.S_IFMT == unix.S_IFSOCK
}

// chmod sets the permission bits.
func (f *sockFile) chmod(mode os.FileMode) error {
	fd, st, err := openPath(f.path)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	switch {
	case !f.is(&st):
		return unix.ESTALE
	case os.FileMode(st.Mode&0o777) == mode.Perm():
		return nil
	}
	return chmodPath(fd, f.path, uint32(mode.Perm()))
}

// remove unlinks the path, if it is the socket's still. The socket, or fd, is open yet.
func (f *sockFile) remove() error {
	if f.path == "" {
		return nil
	}
	var st unix.Stat_t
	err := unix.Lstat(f.path, &st)
	if err == nil && f.is(&st) {
		err = unix.Unlink(f.path)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}
