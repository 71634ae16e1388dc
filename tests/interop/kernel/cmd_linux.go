package kernel

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// A Cmd is a command that runs in a machine.
type Cmd struct {
	m       *Machine
	id      int
	command string

	// Guarded by the machine's mutex.
	out    []byte
	ended  bool
	status int
}

// line takes a line of the command's output; the last one is its status. The
// guest puts an empty line before that, in case the output ends without one.
func (c *Cmd) line(s string) {
	if status, ok := strings.CutPrefix(s, "EXIT "); ok {
		if n, err := strconv.Atoi(status); err == nil {
			c.ended, c.status = true, n
			if n := len(c.out); n > 0 && c.out[n-1] == '\n' {
				c.out = c.out[:n-1]
			}
			return
		}
	}
	c.out = append(append(c.out, s...), '\n')
}

// Await waits until what the command has printed matches, and returns the match
// with its groups. That the command ends without it is an error.
func (c *Cmd) Await(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	return c.m.await(ctx, c, re)
}

// Out is what the command has printed so far.
func (c *Cmd) Out() string {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return string(c.out)
}

// Stop asks the command and its children to end, by SIGTERM.
func (c *Cmd) Stop() error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.ended {
		return nil
	}
	_, err := io.WriteString(c.m.stdin, fmt.Sprintf("stop %d\n", c.id))
	return err
}

// Wait waits for the command's end.
func (c *Cmd) Wait(ctx context.Context) (out string, status int, err error) {
	for ended := false; ; {
		c.m.mu.Lock()
		out, status = string(c.out), c.status
		over, changed := c.ended, c.m.changed
		c.m.mu.Unlock()
		switch {
		case over:
			return out, status, nil
		case ended:
			return out, 0, fmt.Errorf("the machine ended during %q:\n%s%s", c.command, out, c.m.Console())
		}
		select {
		case <-changed:
		case <-c.m.done:
			ended = true
		case <-ctx.Done():
			return out, 0, fmt.Errorf("%q does not end: %w:\n%s", c.command, context.Cause(ctx), out)
		}
	}
}

// freePort finds a UDP port of the loopback that nobody has.
func freePort() (netip.AddrPort, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}
