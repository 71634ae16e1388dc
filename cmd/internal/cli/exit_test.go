package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func TestExitCode(t *testing.T) {
	call := func(err error) error {
		return &connector.OpError{Op: "call", ID: cbid.Make(1, 2), HasID: true, Err: err}
	}
	for _, c := range []struct {
		err, cause error
		code       int
		show       bool
	}{
		{nil, nil, 0, false},
		{errors.New("x"), nil, 1, true},
		{ErrSilent, nil, 1, false},
		{Usagef("x"), nil, 2, true},
		{fmt.Errorf("flag: %w", Usagef("x")), nil, 2, true},
		{call(connector.ErrNoID), nil, 1, true},
		{call(connector.ErrTimeout), nil, 3, true},
		{call(context.DeadlineExceeded), nil, 3, true},
		{call(connector.ErrAgentGone), nil, 3, true},
		{call(connector.ErrInterrupted), nil, 1, true},
		{context.Canceled, &interrupted{syscall.SIGINT}, 130, false},
		{context.Canceled, &interrupted{syscall.SIGTERM}, 143, false},
		{nil, &interrupted{syscall.SIGTERM}, 0, false}, // a broker that drained
		{context.Canceled, errPipe, 0, false},
	} {
		ctx, cancel := context.WithCancelCause(context.Background())
		if c.cause != nil {
			cancel(c.cause)
		}
		code, show := exitCode(ctx, c.err)
		assert.Equal(t, c.code, code, "%v, %v", c.err, c.cause)
		assert.Equal(t, c.show, show, "%v, %v", c.err, c.cause)
		cancel(nil)
	}
}

func TestExplain(t *testing.T) {
	err := &connector.OpError{Op: "send", ID: cbid.Make(1, 2), HasID: true, Err: connector.ErrPermission}
	assert.Equal(t, "send 1:2: not permitted by policy; `cnbus policy show` tells what you may do", explain(err))
}

// The first error of stdout stays, and a reader that has gone is told once.
func TestOutTellsABrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	assert.NoError(t, err)
	r.Close()
	defer w.Close()
	told := 0
	o := newOut(w, func() { told++ })
	assert.NoError(t, o.JSON(1))
	o.Flush()
	_, err = o.Write([]byte("x"))
	assert.ErrorIs(t, err, syscall.EPIPE)
	assert.ErrorIs(t, o.Close(), syscall.EPIPE)
	assert.Equal(t, 1, told)
}

// Lines leave within flushAfter although nobody flushes.
func TestOutFlushesByItself(t *testing.T) {
	r, w, err := os.Pipe()
	assert.NoError(t, err)
	defer r.Close()
	o := newOut(w, nil)
	for _, line := range []string{"1\n", "2\n"} {
		o.Printf("%s", line)
		b := make([]byte, 10)
		n, err := r.Read(b)
		assert.NoError(t, err)
		assert.Equal(t, line, string(b[:n]))
	}
	assert.NoError(t, o.Close())
	w.Close()
}
