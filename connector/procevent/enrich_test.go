package procevent

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeProc writes a process into a /proc of files.
func fakeProc(t *testing.T, root string, tgid, uid uint32, start uint64) string {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprint(tgid))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	stat := fmt.Sprintf("%d (x) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 %d 0\n", tgid, start)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644))
	status := fmt.Sprintf("Uid:\t%d\t0\t0\t0\nGid:\t7\t0\t0\t0\n", uid)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o644))
	return dir
}

func enricherOf(t *testing.T, what Enrich) (*enricher, string) {
	root := t.TempDir()
	r := newEnricherAt(root, what)
	r.clock = clock{}
	r.res.wait = time.Minute // the scheduler decides nothing here
	t.Cleanup(r.close)
	return r, root
}

func TestEnrichment(t *testing.T) {
	r, root := enricherOf(t, EnrichUser)
	fakeProc(t, root, 100, 1000, 1)
	at := time.Hour
	add := func(e Event) *Info {
		e.Time = at
		r.add(&e)
		return e.Info
	}
	require.NotNil(t, add(exec1(100)))
	child := add(fork(100, 101)) // not in /proc
	require.NotNil(t, child)
	assert.EqualValues(t, 1000, child.UID)
	assert.EqualValues(t, 3600*ticksPerSecond, child.Start)
	assert.EqualValues(t, 5, add(Event{Kind: UID, Pid: 101, Tgid: 101, RealID: 5}).UID)
	assert.EqualValues(t, 6, add(Event{Kind: GID, Pid: 101, Tgid: 101, RealID: 6}).GID)
	assert.EqualValues(t, 1000, add(Event{Kind: Comm, Pid: 100, Tgid: 100}).UID, "the parent is another")
	assert.EqualValues(t, 5, add(exit(101)).UID)
	assert.EqualValues(t, 5, add(Event{Kind: Exit, Pid: 102, Tgid: 101}).UID, "a thread that ends later")
	assert.Equal(t, EnrichStats{Found: 1}, r.stats())
	assert.Nil(t, add(exec1(200)))
	assert.EqualValues(t, 1, r.stats().Gone)

	// The number was given to another process after the event.
	fakeProc(t, root, 300, 1, 4000*ticksPerSecond)
	assert.Nil(t, add(exec1(300)))
	assert.EqualValues(t, 2, r.stats().Gone)

	// After a loss nothing that was known is trusted.
	fakeProc(t, root, 100, 2000, 1)
	assert.EqualValues(t, 1000, add(Event{Kind: SID, Pid: 100, Tgid: 100}).UID)
	assert.Nil(t, add(Event{Kind: Lost, Count: 1}))
	assert.EqualValues(t, 2000, add(Event{Kind: SID, Pid: 100, Tgid: 100}).UID)
}

// What is known does not grow with the number of processes that ever were.
func TestEnrichmentForgets(t *testing.T) {
	r, root := enricherOf(t, EnrichUser)
	fakeProc(t, root, 1, 0, 1)
	for pid := uint32(2); pid < 10*keepDead; pid++ {
		f, x := fork(1, pid), exit(pid)
		f.Time, x.Time = time.Hour, time.Hour
		r.add(&f)
		r.add(&x)
		require.NotNil(t, x.Info)
	}
	assert.LessOrEqual(t, len(r.known), keepDead+2)
}
