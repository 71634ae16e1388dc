package main

import (
	"context"
	"errors"
	"os/exec"
	"sync"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/procevent"
)

// procAccount holds the events that came against the children that ran.
type procAccount struct {
	mu       sync.Mutex // guards children
	children []uint32

	kinds map[uint32]procevent.Mask // of each process that was seen
	lost  uint64
	total uint64
}

func newProcAccount() *procAccount {
	return &procAccount{kinds: make(map[uint32]procevent.Mask)}
}

// spawn runs the program n times, one after the other.
func (a *procAccount) spawn(ctx context.Context, path string, n int) error {
	for range n {
		c := exec.CommandContext(ctx, path)
		err := c.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return err
		}
		a.mu.Lock()
		a.children = append(a.children, uint32(c.Process.Pid))
		a.mu.Unlock()
	}
	return ctx.Err()
}

// receive takes events until all children have run and all their events have come,
// or nothing comes any more.
func (a *procAccount) receive(ctx context.Context, c *procevent.Client, started <-chan error) error {
	running := true
	for {
		wait, cancel := context.WithTimeout(ctx, settle)
		e, err := c.Recv(wait)
		timedOut := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			a.take(&e)
		} else if !timedOut {
			return err
		}
		if running {
			select {
			case err := <-started:
				if err != nil {
					return err
				}
				running = false
			default:
			}
			continue
		}
		if timedOut || a.arrived() == 3*len(a.children) {
			return nil
		}
	}
}

func (a *procAccount) take(e *procevent.Event) {
	switch {
	case e.Kind == procevent.Lost:
		a.lost += e.Count
		return
	case e.IsThread():
		return
	}
	a.total++
	a.kinds[e.Tgid] |= procevent.Mask(e.Kind)
}

// arrived is how many of the events of the children came.
func (a *procAccount) arrived() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pid := range a.children {
		for _, k := range []procevent.Kind{procevent.Fork, procevent.Exec, procevent.Exit} {
			if a.kinds[pid]&procevent.Mask(k) != 0 {
				n++
			}
		}
	}
	return n
}

// audit makes the kernel say for each CPU how many events there were, while
// the rest is received.
func (a *procAccount) audit(ctx context.Context, c *procevent.Client) (procevent.Ledger, error) {
	rest, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			e, err := c.Recv(rest)
			if err != nil {
				return
			}
			a.take(&e)
		}
	}()
	l, err := c.Audit(ctx)
	cancel()
	<-done
	return l, err
}

func (a *procAccount) report(e *env, children int, l *procevent.Ledger) error {
	s := procSummary{
		Event: "summary", Children: children, Expected: 3 * children, Arrived: a.arrived(), ReportedLost: l.Lost, Audited: l.Audited,
	}
	s.Foreign = a.total - uint64(s.Arrived)
	s.OK = uint64(s.Expected-s.Arrived) <= s.ReportedLost && (l.Audited || s.ReportedLost > 0)
	if e.app.JSON {
		if err := e.app.Out.JSON(s); err != nil {
			return err
		}
	} else {
		o := e.app.Out
		o.Printf("%d of %d events of %d programs arrived, %s were reported lost, %s came from others\n",
			s.Arrived, s.Expected, s.Children, cli.Count(s.ReportedLost), cli.Count(s.Foreign))
		if s.OK {
			o.Printf("%s\n", o.Style.Green("every event arrived or was reported lost"))
		} else {
			o.Printf("%s\n", o.Style.Red("events are missing that nobody reported"))
		}
	}
	if !s.OK {
		return cli.ErrSilent
	}
	return nil
}
