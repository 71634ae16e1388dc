package role

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) {
	Main(map[string]Func{"test": testRole, "broken": func(context.Context, *Proc) error { return errors.New("no luck") }})
	testenv.Main(m)
}

// testRole adds to the number it is given, fails, hangs, burns.
func testRole(ctx context.Context, p *Proc) error {
	var first int
	if err := p.Args(&first); err != nil {
		return err
	}
	Handle(p, "add", func(_ context.Context, n int) (int, error) { return first + n, nil })
	Handle(p, "fail", func(context.Context, struct{}) (int, error) { return 0, errors.New("as asked") })
	Handle(p, "hang", func(context.Context, struct{}) (int, error) { select {} })
	Handle(p, "now", func(context.Context, struct{}) (int64, error) { return Now(), nil })
	Handle(p, "burn", func(_ context.Context, d time.Duration) (int, error) {
		n := 0
		begun, err := selfCPU()
		for now := begun; err == nil && now-begun < d; now, err = selfCPU() {
			n++
		}
		return n, err
	})
	return p.Serve(ctx, "ready "+strconv.Itoa(first))
}

func begin(t *testing.T) *Process {
	t.Helper()
	var ready string
	p, err := Start(t.Context(), "test", 40, &ready)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	assert.Equal(t, "ready 40", ready)
	return p
}

func TestRoleIsAProcessOfItsOwnThatAnswers(t *testing.T) {
	p := begin(t)
	assert.NotEqual(t, os.Getpid(), p.PID())
	var sum int
	require.NoError(t, p.Do(t.Context(), "add", 2, &sum))
	assert.Equal(t, 42, sum)
	require.ErrorContains(t, p.Do(t.Context(), "fail", nil, nil), "role test: fail: as asked")
	require.ErrorContains(t, p.Do(t.Context(), "dance", nil, nil), `no operation "dance"`)
	require.NoError(t, p.Do(t.Context(), "add", 3, &sum), "an error does not end it")
	require.NoError(t, p.Close())
	require.NoError(t, p.Close(), "idempotent")
	require.Error(t, p.Do(t.Context(), "add", 1, &sum))
}

func TestRoleThatCannotPrepareSaysWhy(t *testing.T) {
	_, err := Start(t.Context(), "broken", nil, nil)
	require.ErrorContains(t, err, "no luck")
	_, err = Start(t.Context(), "unknown", nil, nil)
	require.Error(t, err)
}

func TestRoleThatHangsIsKilled(t *testing.T) {
	p := begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Do(ctx, "hang", nil, nil), context.DeadlineExceeded)
	require.Error(t, p.Close(), "it was killed")
}

func TestProcessesShareTheClock(t *testing.T) {
	p := begin(t)
	before := Now()
	var there int64
	require.NoError(t, p.Do(t.Context(), "now", nil, &there))
	after := Now()
	assert.LessOrEqual(t, before, there)
	assert.LessOrEqual(t, there, after)
}

func TestCPUIsThatOfTheRole(t *testing.T) {
	p := begin(t)
	const burn = 100 * time.Millisecond
	own := OwnCPU()
	before, err := p.CPU(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Do(t.Context(), "burn", burn, nil))
	after, err := p.CPU(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, after-before, burn)
	if _, err := os.Stat("/proc/self/stat"); err == nil { // to the hundredth of a second, for the user and for the kernel
		assert.GreaterOrEqual(t, OwnCPU()-own, burn-20*time.Millisecond, "the roles count as our own")
	}
}

func TestParseStat(t *testing.T) {
	const line = "7 (a) (b)) S 1 7 7 0 -1 4194560 100 0 0 0 100 20 3 7 20 0 1 0 55 1 2"
	assert.Equal(t, 1300*time.Millisecond, parseStat(line))
	for _, bad := range []string{"", "7 (x", "7 (x) S 1 2", "7 (x) S 1 7 7 0 -1 4194560 100 0 0 0 x 20 3 7"} {
		assert.Zero(t, parseStat(bad), "%q", bad)
	}
}
