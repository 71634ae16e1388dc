package rxkad

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"syscall"
)

// A Key is a secret: a session key, or a service's. It is a handle: copies are the same key,
// and Wipe forgets it for all of them. It prints as "[key]" in every way.
type Key struct{ s *secret }

// A secret is behind two pointers: package fmt follows one where a verb does not fit, in fields that it cannot
// call Format of.
type secret struct{ b *[]byte }

// NewKey makes a key of a copy of b.
func NewKey(b []byte) Key {
	c := append(make([]byte, 0, len(b)), b...)
	return Key{&secret{&c}}
}

// Len returns the length in bytes; 0 after Wipe and of the zero Key.
func (k Key) Len() int { return len(k.bytes()) }

// AppendTo appends the secret itself, for whoever has to hand it on.
func (k Key) AppendTo(b []byte) []byte { return append(b, k.bytes()...) }

// Equal compares in constant time.
func (k Key) Equal(o Key) bool { return subtle.ConstantTimeCompare(k.bytes(), o.bytes()) == 1 }

// Wipe overwrites and forgets the secret. It must not run at the same time as something that uses the key.
func (k Key) Wipe() {
	if k.s != nil {
		clear(*k.s.b)
		*k.s.b = nil
	}
}

func (k Key) bytes() []byte {
	if k.s == nil {
		return nil
	}
	return *k.s.b
}

// eight returns a DES or fcrypt key.
func (k Key) eight() (b [8]byte, ok bool) { return b, copy(b[:], k.bytes()) == 8 && k.Len() == 8 }

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
