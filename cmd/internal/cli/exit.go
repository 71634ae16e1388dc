package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// Exit codes of every command.
const (
	Done    = 0
	Failed  = 1
	Usage   = 2
	NoReply = 3
)

// UsageError is a command line that cannot be understood: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// ErrSilent makes a command fail whose output has already said why.
var ErrSilent = errors.New("failed")

// ErrNoAnswer is for what waited in vain: exit code 3.
var ErrNoAnswer = errors.New("no answer")

// errPipe is the cause of a context whose command prints to somebody who has gone.
var errPipe = errors.New("nobody reads the output")

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig syscall.Signal }

func (e *interrupted) Error() string { return "ended by " + e.sig.String() }

func (e *interrupted) code() int { return 128 + int(e.sig) }

// Interrupted reports whether a signal ended ctx.
func Interrupted(ctx context.Context) bool {
	var sig *interrupted
	return errors.As(context.Cause(ctx), &sig)
}

// exitCode says with which code a command ends that returned err, and whether the error
// is to be printed.
func exitCode(ctx context.Context, err error) (code int, show bool) {
	var sig *interrupted
	var usage *UsageError
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		return Done, false
	case errors.Is(cause, errPipe), errors.Is(err, syscall.EPIPE) && cause == nil && isStdout(err):
		return Done, false // as `head` does it: the reader has had enough
	case errors.As(cause, &sig):
		return sig.code(), false
	case errors.As(err, &usage):
		return Usage, true
	case errors.Is(err, ErrSilent):
		return Failed, false
	case errors.Is(err, ErrNoAnswer), errors.Is(err, connector.ErrTimeout), errors.Is(err, connector.ErrAgentGone),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return NoReply, true
	}
	return Failed, true
}

func isStdout(err error) bool {
	var pe *os.PathError
	return errors.As(err, &pe) && pe.Path == os.Stdout.Name()
}

// explain is the text of an error for people.
func explain(err error) string {
	text := strings.TrimPrefix(err.Error(), "connector ")
	switch {
	case errors.Is(err, connector.ErrTimeout):
	case errors.Is(err, context.DeadlineExceeded):
		text = strings.ReplaceAll(text, context.DeadlineExceeded.Error(), "no answer in time")
	case errors.Is(err, connector.ErrPermission):
		text += "; `cnbus policy show` tells what you may do"
	}
	return text
}
