package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/procevent"
	"github.com/cnbus/cnbus/internal/testenv"
)

func TestKinds(t *testing.T) {
	m, err := parseKinds("exec,nonzero-exit")
	require.NoError(t, err)
	assert.Equal(t, procevent.MaskOf(procevent.Exec, procevent.NonzeroExit), m)
	_, err = parseKinds("exec,sleep")
	assert.ErrorContains(t, err, "sleep")
}

func TestIntegrationProcwatch(t *testing.T) {
	c, err := procevent.Dial(t.Context(), &procevent.Config{Kinds: procevent.MaskOf(procevent.Exit), Enrich: procevent.EnrichExe})
	if errors.Is(err, procevent.ErrNoKernel) || errors.Is(err, procevent.ErrSilent) || errors.Is(err, connector.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		testenv.Skip(t, err.Error())
	}
	require.NoError(t, err)
	defer c.Close()
	for _, asJSON := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.Command("/bin/sh", "-c", "exit 7")
		require.Error(t, cmd.Run())
		want := fmt.Sprintf(" %d status 7 ", cmd.Process.Pid)
		if asJSON {
			want = fmt.Sprintf(`{"event":"exit","pid":%d,`, cmd.Process.Pid)
		}
		r, w := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- printEvents(ctx, c, w, asJSON) }()
		lines := bufio.NewScanner(r)
		found := false
		for !found && lines.Scan() {
			found = strings.Contains(lines.Text(), want)
		}
		assert.True(t, found, want)
		r.Close()
		cancel()
		assert.Error(t, <-ended)
	}
}
