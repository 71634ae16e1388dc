//go:build linux

package openafs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PeerService is the service id of rxpeer.
const PeerService = 4242

// Key and KeyVersion are the DES key that rxpeer's server and a cell with
// Mode Auth have if they are not told another.
const (
	Key        = "0123456789abcdef"
	KeyVersion = 3
)

// A Peer is a running `rxpeer server`.
type Peer struct {
	Addr netip.AddrPort

	cmd  *exec.Cmd
	log  *tail
	read chan struct{} // closed at the end of its output
	stop sync.Once
	err  error
}

// StartPeer starts rxpeer as a server at addr, an IPv4 address, with further
// options as rxpeer's usage lists them: "-nojumbo", "-reach", "-dropsend 5". With port 0
// it takes a free one. ctx bounds only the start.
func StartPeer(ctx context.Context, addr netip.AddrPort, options ...string) (*Peer, error) {
	program, err := PeerProgram("rxpeer")
	if err != nil {
		return nil, err
	}
	if addr.Port() == 0 {
		if addr, err = freePort(addr.Addr()); err != nil {
			return nil, err
		}
	}
	p := &Peer{Addr: addr, log: &tail{}, read: make(chan struct{})}
	args := append([]string{"server"}, address(addr)...)
	p.cmd = exec.Command(program, append(args, options...)...)
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting rxpeer: %w", err)
	}
	ready := make(chan error, 1)
	go func() {
		defer close(p.read)
		r := bufio.NewReader(out)
		line, err := r.ReadString('\n')
		if err == nil && !strings.Contains(line, "serving") {
			err = errors.New(line)
		}
		ready <- err
		_, _ = io.Copy(p.log, r)
	}()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("rxpeer does not serve at %v: %w\n%s", addr, err, p.log)
	}
	return p, nil
}

// Stop makes it a server that hangs, until Continue or Close.
func (p *Peer) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	var status unix.WaitStatus
	for !status.Stopped() {
		if _, err := unix.Wait4(p.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting until rxpeer has stopped: %w", err)
		}
		if status.Exited() || status.Signaled() {
			return errors.New("rxpeer has ended instead of stopping")
		}
	}
	return nil
}

// Continue has a stopped server go on.
func (p *Peer) Continue() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Close ends the server and reports a failure that was not ours.
func (p *Peer) Close() error {
	p.stop.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
		<-p.read
		if err := p.cmd.Wait(); err != nil {
			p.err = fmt.Errorf("rxpeer at %v: %w\n%s", p.Addr, err, p.log)
		}
	})
	return p.err
}

func address(a netip.AddrPort) []string {
	return []string{"-host", a.Addr().String(), "-port", strconv.Itoa(int(a.Port()))}
}
