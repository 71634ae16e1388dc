//go:build linux

package openafs

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tests/interop/fetched"
)

//go:embed peer
var peerSource embed.FS

var builtPeer = sync.OnceValues(buildPeer)

// PeerProgram is the path of a program of peer/, "rxpeer", "vecdump" or "fcbench", built if
// it is not there yet.
func PeerProgram(name string) (string, error) {
	dir, err := builtPeer()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// buildPeer builds into a directory that is named by what it is made of, once
// for all processes.
func buildPeer() (string, error) {
	unpacked, err := fetched.OpenAFS()
	if err != nil {
		return "", err
	}
	cache, err := fetched.Dir()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "peer.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}

	sum := sha256.New()
	fmt.Fprintln(sum, unpacked) // it is linked in
	err = fs.WalkDir(peerSource, "peer", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := peerSource.ReadFile(name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(b), b)
		return err
	})
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "peer-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(filepath.Join(dir, "done")); err == nil {
		return dir, nil
	}

	src, err := os.MkdirTemp("", "rxpeer-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(src)
	if err := os.CopyFS(src, peerSource); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	r, err := run(context.Background(), exec.Command("make", "-C", filepath.Join(src, "peer"), "OPENAFS="+unpacked, "O="+dir))
	if err != nil {
		return "", err
	}
	if r.Exit != 0 {
		return "", fmt.Errorf("building rxpeer: %v", r)
	}
	return dir, os.WriteFile(filepath.Join(dir, "done"), nil, 0o644)
}
