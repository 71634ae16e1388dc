package wire

import "errors"

// What a parser may say of bytes that are not what they are parsed as. Either
// is behind every error of this package.
var (
	// ErrTruncated is a packet with fewer bytes than its type has at least.
	ErrTruncated = errors.New("truncated packet")
	// ErrMalformed is a packet whose fields contradict each other, its length
	// or the protocol.
	ErrMalformed = errors.New("malformed packet")
)

// An Error says what is wrong with the bytes of a packet. There is one value for
// each thing that can be wrong, so that refusing a packet allocates nothing.
type Error struct {
	kind error
	what string
}

func (e *Error) Error() string { return "rxrpc: " + e.what }

// Unwrap returns ErrTruncated or ErrMalformed.
func (e *Error) Unwrap() error { return e.kind }

func truncated(what string) *Error { return &Error{kind: ErrTruncated, what: what} }
func malformed(what string) *Error { return &Error{kind: ErrMalformed, what: what} }
