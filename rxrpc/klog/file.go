package klog

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/keyring"
)

// A File keeps the key of one cell in a file, in the form of its payload, for programs on systems or in containers without the kernel's
// keyrings. Whoever can read the file is the user: it is made so that only its owner can, and not read otherwise. It
// is an Installer, and a keyring.Source.
type File string

var (
	_ Installer      = File("")
	_ keyring.Source = File("")
)

// Add replaces the file: a reader finds the old key or the new one.
func (f File) Add(typ keyring.Type, description string, payload []byte) error {
	if typ != keyring.TypeClient {
		return fail("write", string(f), fmt.Errorf("a key of type %s: %w", typ, syscall.EINVAL))
	}
	if cell, ok := cellOf(payload); !ok || Description(cell) != description {
		return fail("write", string(f), fmt.Errorf("not the payload of %s: %w", description, syscall.EINVAL))
	}
	t, err := os.CreateTemp(filepath.Dir(string(f)), "."+filepath.Base(string(f))+".*") // of mode 0600
	if err != nil {
		return fail("write", string(f), err)
	}
	_, err = t.Write(payload)
	if err == nil {
		err = t.Sync()
	}
	if e := t.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.Name(), string(f))
	}
	if err != nil {
		_ = os.Remove(t.Name())
	}
	return fail("write", string(f), err)
}

// Request returns the payload, if the key is that of the description. Errors wrap ErrNoKey of package keyring if it is not, or there
// is no file; EACCES if others than its owner may read or change it.
func (f File) Request(typ keyring.Type, description string) ([]byte, error) {
	b, st, err := readFile(string(f))
	if os.IsNotExist(err) {
		return nil, fail("read", string(f), keyring.ErrNoKey)
	}
	if err == nil && !private(st) {
		err = fmt.Errorf("others than its owner may read or change it: %w", syscall.EACCES)
	}
	if err == nil {
		if cell, ok := cellOf(b); !ok || typ != keyring.TypeClient || Description(cell) != description {
			err = keyring.ErrNoKey
		}
	}
	if err != nil {
		clear(b)
		return nil, fail("read", string(f), err)
	}
	return b, nil
}

// cellOf returns the cell that a payload in XDR form is for; package keyring checks the rest.
func cellOf(payload []byte) (string, bool) {
	r := reader{b: payload}
	flags, cell := r.u32(), r.data()
	return string(cell), !r.bad && flags == 0 && len(cell) > 0
}
