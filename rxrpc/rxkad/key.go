package rxkad

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
)

// A Key is a secret: a session key, or a service's. It is a handle: copies are the same key,
// and Wipe forgets it for all of them. It may be used and wiped by several goroutines. It prints as "[key]" in every way.
type Key struct{ s *secret }

// A secret is behind two pointers: package fmt follows one where a verb does not fit, in fields that it cannot
// call Format of.
type secret struct {
	mu sync.RWMutex // guards what b points at
	b  *[]byte
}

// NewKey makes a key of a copy of b.
func NewKey(b []byte) Key {
	c := append(make([]byte, 0, len(b)), b...)
	return Key{&secret{b: &c}}
}

// Len returns the length in bytes; 0 after Wipe and of the zero Key.
func (k Key) Len() (n int) {
	k.with(func(b []byte) { n = len(b) })
	return n
}

// AppendTo appends the secret itself, for whoever has to hand it on.
func (k Key) AppendTo(to []byte) []byte {
	k.with(func(b []byte) { to = append(to, b...) })
	return to
}

// Equal compares in constant time.
func (k Key) Equal(o Key) bool {
	other := o.AppendTo(nil)
	defer clear(other)
	equal := 0
	k.with(func(b []byte) { equal = subtle.ConstantTimeCompare(b, other) })
	return equal == 1
}

// Wipe overwrites and forgets the secret. Connections that have begun have a copy of their own, and go on.
func (k Key) Wipe() {
	if k.s != nil {
		k.s.mu.Lock()
		defer k.s.mu.Unlock()
		clear(*k.s.b)
		*k.s.b = nil
	}
}

// with calls f with the secret, which it must not keep.
func (k Key) with(f func([]byte)) {
	if k.s == nil {
		f(nil)
		return
	}
	k.s.mu.RLock()
	defer k.s.mu.RUnlock()
	f(*k.s.b)
}

// eight returns a DES or fcrypt key.
func (k Key) eight() (key [8]byte, ok bool) {
	k.with(func(b []byte) { ok = len(b) == 8 && copy(key[:], b) == 8 })
	return key, ok
}

const hidden = "[key]"

// Format prints "[key]" for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue is "[key]".
func (Key) LogValue() slog.Value { return slog.StringValue(hidden) }

// errMarshal is what marshalling a secret returns.
var errMarshal = fmt.Errorf("rxkad: keys are not marshalled: %w", syscall.EPERM)

// MarshalText refuses.
func (Key) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary refuses.
func (Key) MarshalBinary() ([]byte, error) { return nil, errMarshal }
