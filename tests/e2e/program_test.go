//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long anything that must come is waited for.
const patience = 2 * time.Minute

// site is a directory with a broker's socket in it, and the environment of the
// programs that use it.
type site struct {
	t   *testing.T
	dir string
	env []string
}

// newSite makes a site without a broker. Its directory belongs to who runs the programs.
func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus-site-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	if nobody != nil {
		require.NoError(t, os.Chown(dir, int(nobody.Uid), int(nobody.Gid)))
	}
	s := &site{t: t, dir: dir}
	s.env = append(os.Environ(), "CNBUS_SOCKET="+s.socket(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_RUNTIME_DIR=", "NO_COLOR=", "LC_ALL=C.UTF-8")
	return s
}

func (s *site) socket() string { return filepath.Join(s.dir, "bus.sock") }

// file writes a file that the programs can read.
func (s *site) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// command is a program of ours, or of PATH, as the unprivileged user.
func (s *site) command(name string, args ...string) *exec.Cmd {
	if name == "cnbus" || name == "cn-test" {
		name = filepath.Join(bin, name)
	}
	c := exec.Command(name, args...)
	c.Env = s.env
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: nobody, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return c
}

// group signals a program and what it has started. It must not have been waited for.
func group(c *exec.Cmd, sig syscall.Signal) { _ = syscall.Kill(-c.Process.Pid, sig) }

// giveUp ends programs that should have ended, or said something: those of ours print on
// stderr where each goroutine stands.
func giveUp(c *exec.Cmd, ended <-chan struct{}) {
	group(c, syscall.SIGQUIT)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		group(c, syscall.SIGKILL)
	}
}

// result is how a program ended.
type result struct {
	code     int
	out, err string
}

// run runs a program to its end.
func (s *site) run(name string, args ...string) result {
	s.t.Helper()
	return s.runCmd(s.command(name, args...))
}

func (s *site) runCmd(c *exec.Cmd) result {
	s.t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	require.NoError(s.t, c.Start())
	c.WaitDelay = patience // for what it has left behind
	ended := make(chan struct{})
	kill := time.AfterFunc(patience, func() { giveUp(c, ended) })
	err := c.Wait()
	close(ended)
	require.True(s.t, kill.Stop(), "%v did not end\n%s%s", c.Args, out.String(), errs.String())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(s.t, err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

// ok runs a cnbus command that must succeed and returns what it printed.
func (s *site) ok(args ...string) string {
	s.t.Helper()
	r := s.run("cnbus", args...)
	require.Zero(s.t, r.code, "cnbus %v\n%s%s", args, r.out, r.err)
	return r.out
}

// program is one that runs.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	args []string
	done chan struct{} // closed when it has ended
	tell int           // how many of its last lines a failure shows

	mu    sync.Mutex // guards lines
	lines []string   // of stdout and stderr
	more  chan struct{}
}

// start starts a program; it is killed at the end of the test.
func (s *site) start(name string, args ...string) *program {
	s.t.Helper()
	return s.startCmd(s.command(name, args...))
}

func (s *site) startCmd(c *exec.Cmd) *program {
	s.t.Helper()
	p := &program{t: s.t, cmd: c, args: c.Args, done: make(chan struct{}), more: make(chan struct{}, 1), tell: 30}
	var wg sync.WaitGroup
	for _, open := range []func() (io.ReadCloser, error){c.StdoutPipe, c.StderrPipe} {
		r, err := open()
		require.NoError(s.t, err)
		wg.Go(func() { p.read(r) })
	}
	require.NoError(s.t, c.Start())
	go func() {
		wg.Wait()
		_ = c.Wait() // the exit code is asked of ProcessState
		close(p.done)
	}()
	s.t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			group(c, syscall.SIGKILL)
			select {
			case <-p.done:
			case <-time.After(patience):
				assert.Fail(s.t, "killed, and somebody still has its output open", "%v", c.Args)
			}
		}
		if s.t.Failed() {
			lines := p.all()
			s.t.Logf("%v printed at last:\n%s", c.Args, strings.Join(lines[max(0, len(lines)-p.tell):], "\n"))
		}
	})
	return p
}

// stacks makes a program that does not do what it should print where its goroutines stand.
func (p *program) stacks() {
	p.tell = 1000
	giveUp(p.cmd, p.done)
}

func (p *program) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, sc.Text())
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
	}
}

// all returns the lines until now.
func (p *program) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// expect waits for a line that matches, and returns what its groups hold (0: the
// line).
func (p *program) expect(pattern string) []string {
	p.t.Helper()
	return p.expectFunc(pattern, matching(pattern))
}

// matching returns what the groups of a pattern hold (0: the line), nil for a line that it does not match.
func matching(pattern string) func(line string) []string {
	re := regexp.MustCompile(pattern)
	return func(line string) []string {
		m := re.FindStringSubmatch(line)
		if m != nil {
			m[0] = line
		}
		return m
	}
}

// expectFunc waits for a line for which f returns something.
func (p *program) expectFunc(what string, f func(line string) []string) []string {
	p.t.Helper()
	return p.expectFrom(0, what, f)
}

// expectFrom is expectFunc without the first lines.
func (p *program) expectFrom(seen int, what string, f func(line string) []string) []string {
	p.t.Helper()
	timeout := time.After(patience)
	over := false
	for {
		lines := p.all()
		for ; seen < len(lines); seen++ {
			if m := f(lines[seen]); m != nil {
				return m
			}
		}
		if over {
			require.Fail(p.t, "it ended too early", "%v ended (%v) before a line with %s", p.args, p.cmd.ProcessState, what)
		}
		select {
		case <-p.more:
		case <-p.done:
			over = true
		case <-timeout:
			p.stacks()
			require.Fail(p.t, "no such line", "%v: %s in\n%s", p.args, what, strings.Join(lines, "\n"))
		}
	}
}

// signal sends a signal.
func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
}

// exit waits for the end and returns the exit code; -1 for a signal.
func (p *program) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.stacks()
		require.Fail(p.t, "still running", "%v", p.args)
	}
	return p.cmd.ProcessState.ExitCode()
}

// end sends a signal and waits.
func (p *program) end(sig syscall.Signal) int {
	p.t.Helper()
	p.signal(sig)
	return p.exit()
}

// deadline is when patience ends.
func (s *site) deadline() <-chan time.Time { return time.After(patience) }

// broker starts a broker at the site and waits until it serves.
func (s *site) broker(args ...string) *program {
	s.t.Helper()
	p := s.start("cnbus", append([]string{"serve"}, args...)...)
	p.expect(`^serving `)
	return p
}
