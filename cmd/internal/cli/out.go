package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// flushAfter is how long a line may wait for company: a program that prints
// thousands of events a second must not make a system call for each.
const flushAfter = 20 * time.Millisecond

// Out is stdout: lines leave at once to a terminal, and within flushAfter to
// anything else. The first error stays. Its methods may be called from any
// goroutine.
type Out struct {
	TTY   bool
	Style Style

	mu     sync.Mutex // guards what follows; the write to stdout is under it, as lines must not mix
	w      *bufio.Writer
	timer  *time.Timer
	due    bool
	err    error
	broken func() // told once that nobody reads any more
}

func newOut(w io.Writer, broken func()) *Out {
	o := &Out{w: bufio.NewWriterSize(w, 64<<10), broken: broken, TTY: IsTerminal(w)}
	o.Style = styleOf(w)
	return o
}

// Write implements io.Writer. What it is given leaves the process together.
func (o *Out) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	o.note(err)
	switch {
	case o.err != nil || o.due:
	case o.TTY:
		o.note(o.w.Flush())
	default:
		o.due = true
		if o.timer == nil {
			o.timer = time.AfterFunc(flushAfter, o.Flush)
		} else {
			o.timer.Reset(flushAfter)
		}
	}
	return n, o.err
}

// note keeps the first error. o.mu is held.
func (o *Out) note(err error) {
	if err == nil || o.err != nil {
		return
	}
	o.err = err
	if errors.Is(err, syscall.EPIPE) && o.broken != nil {
		o.broken()
	}
}

// Flush writes what waits.
func (o *Out) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = false
	if o.err == nil {
		o.note(o.w.Flush())
	}
}

// Close flushes and returns the first error.
func (o *Out) Close() error {
	o.Flush()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	return o.err
}

// Printf prints.
func (o *Out) Printf(format string, args ...any) { fmt.Fprintf(o, format, args...) }

// JSON prints v as one line.
func (o *Out) JSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = o.Write(append(b, '\n'))
	return err
}
