package keyring

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Keyrings of the kernel that every process has (keyctl(2)).
const (
	ThreadKeyring      = unix.KEY_SPEC_THREAD_KEYRING
	ProcessKeyring     = unix.KEY_SPEC_PROCESS_KEYRING
	SessionKeyring     = unix.KEY_SPEC_SESSION_KEYRING
	UserKeyring        = unix.KEY_SPEC_USER_KEYRING
	UserSessionKeyring = unix.KEY_SPEC_USER_SESSION_KEYRING
)

// kernelType is the kernel's type of keys that hold bytes, there with or without AF_RXRPC. Their
// descriptions are our type and description: "rxrpc:afs@example.com".
const kernelType = "user"

// A Kernel is a keyring of the kernel, where keys survive the process that made them, and which root or a login session
// shares among processes. It is a Source. The payloads are those of our types.
type Kernel struct{ ring int }

var (
	_ Source     = (*Kernel)(nil)
	_ rxkad.Keys = (*Kernel)(nil)
)

// OpenKernel returns a keyring of the kernel, by its number or one of those above. ThreadKeyring and ProcessKeyring are of the thread
// that asks, and of those that it starts later: they are for who has called runtime.LockOSThread. Errors: ENOSYS where the kernel has none
// or does not let this process use them, ENOKEY, EACCES, EKEYREVOKED ...
func OpenKernel(ring int) (*Kernel, error) {
	id, err := unix.KeyctlGetKeyringID(ring, true)
	if err != nil {
		return nil, fail("open", "a keyring of the kernel", err)
	}
	return &Kernel{id}, nil
}

func kernelName(typ Type, description string) string { return string(typ) + ":" + description }

// Add puts a key into the keyring, or changes the one that is there. The payload is not checked before it is used.
func (k *Kernel) Add(typ Type, description string, payload []byte) error {
	_, err := unix.AddKey(kernelType, kernelName(typ, description), payload, k.ring)
	return fail("add", "kernel's "+named(typ, description), err)
}

// Request searches the keyring and those in it.
func (k *Kernel) Request(typ Type, description string) ([]byte, error) {
	id, err := unix.KeyctlSearch(k.ring, kernelType, kernelName(typ, description), 0)
	if err != nil {
		return nil, fail("search", "kernel's "+named(typ, description), err)
	}
	b := make([]byte, 4096)
	for {
		n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, b, 0)
		if err != nil {
			clear(b)
			return nil, fail("read", "kernel's "+named(typ, description), err)
		}
		if n <= len(b) {
			return b[:n], nil
		}
		clear(b)
		b = make([]byte, n)
	}
}

// Remove takes a key out of the keyring. One that is not there is no error.
func (k *Kernel) Remove(typ Type, description string) error {
	id, err := unix.KeyctlSearch(k.ring, kernelType, kernelName(typ, description), 0)
	if err == nil {
		_, err = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, k.ring, 0, 0)
	}
	if errors.Is(err, syscall.ENOKEY) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return fail("remove", "kernel's "+named(typ, description), err)
}

// Keyring finds a keyring by its name, in this one and those in it. Errors: ErrNoKey's errno, EACCES, ...
func (k *Kernel) Keyring(name string) (*Kernel, error) {
	id, err := unix.KeyctlSearch(k.ring, "keyring", name, 0)
	if err != nil {
		return nil, fail("search", "kernel's "+named(TypeKeyring, name), err)
	}
	return &Kernel{id}, nil
}

// ServerKey makes the keyring one of a server: see Store.ServerKeys. It is looked at with every ticket.
func (k *Kernel) ServerKey(q rxkad.KeyQuery) (rxkad.Key, error) {
	name := serviceName{query: q}
	b, err := k.Request(TypeServer, describeService(q, false))
	if errors.Is(err, syscall.ENOKEY) && q.EncType == rxkad.DES {
		b, err = k.Request(TypeServer, describeService(q, true))
	}
	if err != nil {
		return rxkad.Key{}, err
	}
	defer clear(b)
	if err := checkServiceKey(name, b); err != nil {
		return rxkad.Key{}, fail("use", "kernel's "+named(TypeServer, describeService(q, false)), err)
	}
	return rxkad.NewKey(b), nil
}
