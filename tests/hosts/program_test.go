//go:build linux

package hosts

import (
	"bytes"
	"context"
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

	"github.com/cnbus/cnbus/connector"
)

// programs builds the programs, once for the world, and returns their directory.
func (w *world) programs() string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "bin")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	require.NoError(w.t, os.Mkdir(dir, 0o755))
	for _, name := range []string{"cnbus", "cn-test"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "../../cmd/"+name).CombinedOutput()
		require.NoError(w.t, err, "%s", out)
	}
	return dir
}

// nobody is who runs programs that need no privilege, if there is anybody else in the tests' world than root.
const nobody = 65534

func hasNobody() bool {
	b, _ := os.ReadFile("/proc/self/uid_map")
	return len(strings.Fields(string(b))) > 0 && !strings.HasSuffix(strings.TrimSpace(string(b)), " 1")
}

// program is one of the programs that runs on a host.
type program struct {
	t    testing.TB
	line string
	cmd  *exec.Cmd
	mu   sync.Mutex // guards text
	text bytes.Buffer
	done chan struct{}
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// run starts a command line of the shell on h, whose broker it finds without being told.
func (h *host) run(line string) *program { return h.runAs(os.Geteuid(), line) }

func (h *host) runAs(uid int, line string) *program {
	t := h.w.root
	dir := h.w.programs()
	p := &program{t: t, line: h.cfg.Name + "$ " + line, done: make(chan struct{})}
	p.cmd = exec.Command("nsenter", h.ns.net(), "sh", "-c", "exec "+line)
	if uid != os.Geteuid() && hasNobody() {
		p.cmd = exec.Command("nsenter", h.ns.net(), "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", "exec "+line)
	}
	p.cmd.Env = append(os.Environ(), "CNBUS_SOCKET="+h.cfg.Socket, "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+h.w.dir, "XDG_RUNTIME_DIR=", "NO_COLOR=", "LC_ALL=C.UTF-8")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.Dir = h.w.dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s\n%s", p.line, tail([]byte(p.said())))
		}
	})
	return p
}

// expect waits until the program has printed what matches.
func (p *program) expect(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if m := re.FindStringSubmatch(p.said()); m != nil {
			return m
		}
		select {
		case <-ctx.Done():
			require.FailNow(p.t, "never said", "%s\n%s\nwanted: %s", p.line, p.said(), pattern)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// registers runs 'cnbus listen', again where the site could not be asked: its servers may be choosing a leader.
func (h *host) registers(line string) {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p := h.run(line)
		for over := false; !over; {
			if strings.Contains(p.said(), "waiting for messages") {
				return
			}
			select {
			case <-p.done:
				over = true
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				require.FailNow(h.w.t, "never registered", "%s\n%s", p.line, p.said())
			}
		}
		code, text := p.ends()
		require.Contains(h.w.t, text, connector.ErrInterrupted.Error(), "%s: exit %d", p.line, code)
	}
}

// ends waits for the end of a program, and returns its exit code and what it has printed.
func (p *program) ends() (int, string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		require.FailNow(p.t, "does not end", "%s\n%s", p.line, p.said())
	}
	return p.cmd.ProcessState.ExitCode(), p.said()
}

// must runs a command that must succeed, and returns what it has printed.
func (h *host) must(line string) string {
	code, text := h.run(line).ends()
	require.Zero(h.w.t, code, "%s$ %s\n%s", h.cfg.Name, line, text)
	return text
}

// kill is kill -9.
func (p *program) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// stop is SIGTERM, and waits.
func (p *program) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	code, text := p.ends()
	assert.Zero(p.t, code, "%s\n%s", p.line, text)
}
