package rxbench

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
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
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	// It says that it serves when it does, but a pipe would have to be drained:
	// the first call finds out.
	cmd := exec.Command(program, append([]string{"server", "-host", addr.Addr().String(), "-port", strconv.Itoa(int(addr.Port()))}, x.flags...)...)
	if x.server, err = role.Run(cmd); err != nil {
		return nil, err
	}
	c.procs = append(c.procs, x.server)
	if through != nil {
		if addr, err = through(addr); err != nil {
			return nil, err
		}
	}
	x.addr = addr
	return x, nil
}

var fieldOf = regexp.MustCompile(`\b(\w+)=(-?[0-9.]+)\b`)

// run makes a client of the library and returns the figures that it prints.
func (x *librx) run(ctx context.Context, args ...string) (map[string]float64, time.Duration, error) {
	args = append(append([]string{"client", "-host", x.addr.Addr().String(), "-port", strconv.Itoa(int(x.addr.Port()))}, x.flags...), args...)
	cmd := exec.CommandContext(ctx, x.program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	before := role.CPUOf(x.server.PID())
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("rxpeer %s: %w: %s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	cpu := role.CPUOf(x.server.PID()) - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	f := make(map[string]float64)
	for _, m := range fieldOf.FindAllStringSubmatch(out.String(), -1) {
		if v, err := strconv.ParseFloat(m[2], 64); err == nil {
			f[m[1]] = v
		}
	}
	if f["code"] != 0 || f["sec"] == 0 {
		return nil, 0, fmt.Errorf("rxpeer %s: %s", strings.Join(args, " "), out.Bytes())
	}
	return f, cpu, nil
}

func (x *librx) calls(ctx context.Context, callers int, d time.Duration) (figures, error) {
	// Its clock knows seconds.
	f, cpu, err := x.run(ctx, "-threads", strconv.Itoa(callers), "-secs", strconv.Itoa(max(int(d.Seconds()), 1)), "calls")
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
