package role

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

// opUsage is the operation that every role knows.
const opUsage = "cpu"

// stopGrace is how long a role may take to end before it is killed.
const stopGrace = time.Minute

// Process is the parent's side of a role.
type Process struct {
	name string
	cmd  *exec.Cmd
	in   *os.File // requests to the child
	out  *os.File // its answers
	r    *bufio.Reader
	mu   sync.Mutex // one operation at a time: guards in, r
	once sync.Once
	err  error
}

// Start runs the role in a process of its own, gives it args, waits until it
// is ready, and stores what it then says in ready (which may be nil).
func Start(ctx context.Context, name string, args, ready any) (*Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", name, err)
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", name, err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		_, _ = childIn.Close(), in.Close()
		return nil, fmt.Errorf("role %s: %w", name, err)
	}
	cmd := exec.Command(exe, Flag, name)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{childIn, childOut}
	err = cmd.Start()
	_, _ = childIn.Close(), childOut.Close()
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, fmt.Errorf("role %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, in: in, out: out, r: bufio.NewReaderSize(out, 64<<10)}
	enlist(p.PID())
	if err := p.do(ctx, "args", args, ready); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// PID is the process id of the role.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Do asks for one operation and stores what it returns in result, which may be nil.
// When ctx ends first the process is killed: it is in an unknown state.
func (p *Process) Do(ctx context.Context, op string, args, result any) error {
	return p.do(ctx, op, args, result)
}

func (p *Process) do(ctx context.Context, op string, args, result any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	fail := func(err error) error {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("role %s: %s: %w", p.name, op, err)
	}
	raw, err := json.Marshal(args)
	if err != nil {
		return fail(err)
	}
	line, err := json.Marshal(request{Op: op, Args: raw})
	if err != nil {
		return fail(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fail(err)
	}
	if line, err = p.r.ReadBytes('\n'); err != nil {
		return fail(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return fail(err)
	}
	if a.Err != "" {
		return fail(errors.New(a.Err))
	}
	if result != nil {
		if err := json.Unmarshal(a.Value, result); err != nil {
			return fail(err)
		}
	}
	return nil
}

// Signal sends a signal to the process.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// CPU returns the processor time that the process has used, its ended
// children included.
func (p *Process) CPU(ctx context.Context) (time.Duration, error) {
	var d time.Duration
	err := p.Do(ctx, opUsage, nil, &d)
	return d, err
}

// Close ends the process and waits for it. It is idempotent.
func (p *Process) Close() error {
	p.once.Do(func() {
		_ = p.in.Close()
		timer := time.AfterFunc(stopGrace, func() { _ = p.cmd.Process.Kill() })
		err := p.cmd.Wait()
		timer.Stop()
		discharge(p.PID())
		_ = p.out.Close()
		if err != nil {
			p.err = fmt.Errorf("role %s: %w", p.name, err)
		}
	})
	return p.err
}
