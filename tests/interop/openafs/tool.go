//go:build linux

package openafs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cnbus/cnbus/tests/interop/fetched"
)

// A Result is how a command ended.
type Result struct {
	Args     []string
	Exit     int
	Out, Err string
}

// Both is what the command said on either stream.
func (r Result) Both() string { return r.Out + r.Err }

// String tells all of it, for a failing test.
func (r Result) String() string {
	return fmt.Sprintf("%s: exit %d\n%s%s", strings.Join(r.Args, " "), r.Exit, r.Out, r.Err)
}

// where the packages have the programs, below the root they are unpacked in.
var programDirs = []string{"usr/bin", "usr/sbin", "usr/lib/openafs"}

// program finds name in the unpacked packages, relative to their root.
func program(unpacked, name string) (string, error) {
	for _, dir := range programDirs {
		if _, err := os.Stat(filepath.Join(unpacked, dir, name)); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("openafs: no program %s in %s", name, unpacked)
}

// libraries is the environment in which the programs find Heimdal's libraries.
func libraries(unpacked string) ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(unpacked, "usr/lib/*-linux-gnu*"))
	if err != nil || len(dirs) == 0 {
		return nil, fmt.Errorf("openafs: no libraries in %s", unpacked)
	}
	return append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"), "LC_ALL=C", "TZ=UTC"), nil
}

// Run runs one of the commands that need no configuration, such as rxdebug and
// udebug, to its end or to that of ctx.
func Run(ctx context.Context, name string, args ...string) (Result, error) {
	unpacked, err := fetched.OpenAFS()
	if err != nil {
		return Result{}, err
	}
	path, err := program(unpacked, name)
	if err != nil {
		return Result{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(unpacked, path), args...)
	if cmd.Env, err = libraries(unpacked); err != nil {
		return Result{}, err
	}
	return run(ctx, cmd)
}

// run runs a command. That it fails is a Result; an error is that it could not
// be run, or was cut off.
func run(ctx context.Context, cmd *exec.Cmd) (Result, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := Result{Args: append([]string{filepath.Base(cmd.Path)}, cmd.Args[1:]...), Out: out.String(), Err: errs.String()}
	if cmd.ProcessState != nil {
		r.Exit = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("cut off: %w: %v", context.Cause(ctx), r)
	case err != nil && !errors.As(err, &exit):
		return r, fmt.Errorf("running %s: %w", r.Args[0], err)
	}
	return r, nil
}
