// Package fetched knows where install.sh has put what the interop tests talk
// to: Debian's OpenAFS and Debian's kernels.
package fetched

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// recipe is the version of the way in which install.sh makes a part.
const recipe = "recipe 1\n"

// Dir is the directory of all parts: $CNBUS_RIG_DIR, or cnbus/rig in the
// user's cache.
func Dir() (string, error) {
	if d := os.Getenv("CNBUS_RIG_DIR"); d != "" {
		return d, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the interop rig: %w", err)
	}
	return filepath.Join(cache, "cnbus", "rig"), nil
}

// OpenAFS is the root of the unpacked OpenAFS packages.
func OpenAFS() (string, error) { return part("openafs", "openafs") }

// Kernel is the directory of a kernel: vmlinux, initrd.img, release, config. The
// flavours are "6.1", "6.12" and "newest".
func Kernel(flavour string) (string, error) {
	return part(flavour, filepath.Join("kernels", flavour))
}

func part(name, sub string) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, sub)
	made, err := os.ReadFile(filepath.Join(dir, "packages"))
	if err != nil || !bytes.HasPrefix(made, []byte(recipe)) {
		return "", fmt.Errorf("%s is not in %s: run tests/interop/install.sh %s, or make deps", name, dir, name)
	}
	return dir, nil
}
