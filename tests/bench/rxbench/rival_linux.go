package rxbench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/relay"
)

// librx is the C peers' side.
type librx struct {
	program string
	server  *role.External
	addr    netip.AddrPort
	flags   []string
	level   []string // of the client
}

func openRival(_ context.Context, c *cast, a endArgs, through func(netip.AddrPort) (netip.AddrPort, error)) (side, error) {
	program, err := openafs.PeerProgram("rxpeer")
	if err != nil {
		return nil, &harness.Missing{What: err.Error()}
	}
	x := &librx{program: program}
	if !a.Large {
		x.flags = []string{"-nojumbo"}
	}
	if a.Level != "" {
		x.level = []string{"-level", a.Level}
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, append([]string{"server", "-host", addr.Addr().String(), "-port", strconv.Itoa(int(addr.Port()))}, x.flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if x.server, err = role.Run(cmd); err != nil {
		return nil, err
	}
	c.procs = append(c.procs, x.server)
	if err := serves(cmd, out); err != nil {
		return nil, err
	}
	if through != nil {
		if addr, err = through(addr); err != nil {
			return nil, err
		}
	}
	x.addr = addr
	return x, nil
}

// serves waits until the server says that it does: a client of the library takes a refusal for
// the end of its first call.
func serves(cmd *exec.Cmd, out io.Reader) error {
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "serving") {
		return fmt.Errorf("rxpeer server: %q: %w", line, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
	return nil
}

var fieldOf = regexp.MustCompile(`\b(\w+)=(-?[0-9.]+)\b`)

func fieldsOf(s string) map[string]float64 {
	f := make(map[string]float64)
	for _, m := range fieldOf.FindAllStringSubmatch(s, -1) {
		if v, err := strconv.ParseFloat(m[2], 64); err == nil {
			f[m[1]] = v
		}
	}
	return f
}

// run makes a client of the library and returns the figures that it prints.
func (x *librx) run(ctx context.Context, args ...string) (map[string]float64, time.Duration, error) {
	args = append(append([]string{"client", "-host", x.addr.Addr().String(), "-port", strconv.Itoa(int(x.addr.Port()))}, slices.Concat(x.flags, x.level)...), args...)
	cmd := exec.CommandContext(ctx, x.program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	before := role.CPUOf(x.server.PID())
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("rxpeer %s: %w: %s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	cpu := role.CPUOf(x.server.PID()) - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	f := fieldsOf(out.String())
	if f["code"] != 0 || f["sec"] == 0 {
		return nil, 0, fmt.Errorf("rxpeer %s: %s", strings.Join(args, " "), out.Bytes())
	}
	return f, cpu, nil
}

func (x *librx) calls(ctx context.Context, callers int, d time.Duration) (figures, error) {
	return x.short(ctx, callers, d)
}

func (x *librx) fresh(ctx context.Context, callers int, d time.Duration) (figures, error) {
	return x.short(ctx, callers, d, "-fresh")
}

func (x *librx) short(ctx context.Context, callers int, d time.Duration, options ...string) (figures, error) {
	// Its clock knows seconds.
	args := append(options, "-threads", strconv.Itoa(callers), "-secs", strconv.Itoa(max(int(d.Seconds()), 1)), "calls")
	f, cpu, err := x.run(ctx, args...)
	if err != nil {
		return figures{}, err
	}
	return figures{n: f["calls"], took: time.Duration(f["sec"] * 1e9), cpu: cpu, p50: f["p50us"], p99: f["p99us"]}, nil
}

func (x *librx) bulk(ctx context.Context, up bool, bytes uint64) (figures, error) {
	kind := "source"
	if up {
		kind = "sink"
	}
	f, cpu, err := x.run(ctx, "-bytes", strconv.FormatUint(bytes, 10), kind)
	if err != nil {
		return figures{}, err
	}
	return figures{n: float64(bytes), took: time.Duration(f["sec"] * 1e9), cpu: cpu}, nil
}

// rivalFCrypt has librxkad's function encrypt or decrypt packets for a while.
func rivalFCrypt(ctx context.Context, op string, d time.Duration, size int) (rate float64, sum uint64, err error) {
	program, err := openafs.PeerProgram("fcbench")
	if err != nil {
		return 0, 0, &harness.Missing{What: err.Error()}
	}
	out, err := exec.CommandContext(ctx, program, op, strconv.FormatInt(d.Milliseconds(), 10), strconv.Itoa(size)).CombinedOutput()
	f := fieldsOf(string(out))
	if err != nil || f["sec"] == 0 {
		return 0, 0, fmt.Errorf("fcbench: %w: %s", err, out)
	}
	return f["bytes"] / f["sec"], uint64(f["sum"]), nil
}

// newLine puts a line of that length before target, on which some datagrams are
// lost, in both directions.
func newLine(c *cast, target netip.AddrPort, delay time.Duration, loss float64) (netip.AddrPort, error) {
	path := relay.Path{Delay: delay, Loss: loss}
	r, err := relay.New(relay.Config{Target: target, Up: path, Down: path, Seed: 1})
	if err != nil {
		return netip.AddrPort{}, err
	}
	c.procs = append(c.procs, r)
	return r.Addr(), nil
}
