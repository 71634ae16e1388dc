//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait. Nothing here takes as long on a machine that is not stuck.
const patience = 2 * time.Minute

// process is another process of this binary, in one of the roles. It ends with
// the test at the latest.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string // of its standard output; closed when that ends
	log   safeBuffer  // its standard error
	done  chan struct{}
	err   error // of Wait, once done is closed
}

// safeBuffer is a bytes.Buffer for two goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// spawn starts a process in a role; it is killed when the test ends.
func spawn(t testing.TB, role string, config any) *process {
	t.Helper()
	p := launch(t, role, config)
	t.Cleanup(func() { p.kill() })
	return p
}

// launch is spawn for a process that somebody else sees to the end of.
func launch(t testing.TB, role string, config any) *process {
	t.Helper()
	text, err := json.Marshal(config)
	require.NoError(t, err)
	p := &process{t: t, lines: make(chan string, 64), done: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Env = append(os.Environ(), roleEnv+"="+role, configEnv+"="+string(text), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.err = p.cmd.Wait()
	}()
	return p
}

// line returns the next line that the process prints.
func (p *process) line() string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		require.True(p.t, ok, "the process has ended; it said:\n%s", &p.log)
		return l
	case <-time.After(patience):
		require.Fail(p.t, "the process prints nothing")
		return ""
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// kill ends the process as kill -9 does, and returns what it printed before and nobody
// has read.
func (p *process) kill() (rest []string) {
	_ = p.cmd.Process.Kill()
	for l := range p.lines {
		rest = append(rest, l)
	}
	<-p.done
	return rest
}

// wait waits until the process ends by itself, in good order.
func (p *process) wait() (rest []string) {
	p.t.Helper()
	stuck := time.AfterFunc(patience, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer stuck.Stop()
	for l := range p.lines {
		rest = append(rest, l)
	}
	<-p.done
	require.NoError(p.t, p.err, "%s", &p.log)
	return rest
}

// eventually looks until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		require.True(t, time.Now().Before(end), "still not: %s", what)
	}
}
