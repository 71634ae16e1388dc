package role

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// External is a rival that is a program of its own.
type External struct {
	cmd  *exec.Cmd
	once sync.Once
	err  error
}

// Run starts a prepared command as part of the benchmark.
func Run(cmd *exec.Cmd) (*External, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	enlist(cmd.Process.Pid)
	return &External{cmd: cmd}, nil
}

// PID is the process id.
func (e *External) PID() int { return e.cmd.Process.Pid }

// Close asks the program to end, kills it if it does not, and waits for it. It is idempotent.
func (e *External) Close() error {
	e.once.Do(func() {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(stopGrace, func() { _ = e.cmd.Process.Kill() })
		err := e.cmd.Wait()
		timer.Stop()
		discharge(e.PID())
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			e.err = err
		}
	})
	return e.err
}
