package procevent

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file of /proc that blocks holds up neither the reader nor, beyond a moment, Recv.
func TestEnrichmentNeverBlocks(t *testing.T) {
	root := t.TempDir()
	var pipes []string
	for pid := range uint32(4) {
		dir := fakeProc(t, root, pid+1, 0, 1)
		pipe := filepath.Join(dir, "cmdline")
		require.NoError(t, syscall.Mkfifo(pipe, 0o600)) // to open it waits for a writer
		pipes = append(pipes, pipe)
	}
	r := newEnricherAt(root, EnrichCmdline)
	r.res.wait = time.Millisecond
	for pid := range uint32(4) {
		e := exec1(pid + 1)
		e.Time = time.Hour
		r.add(&e)
		assert.Nil(t, e.Info)
	}
	assert.EqualValues(t, 4, r.stats().Late, "two that are stuck, and two for which nobody is left")
	for _, p := range pipes[:resolverWorkers] { // let the two go
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	r.close()
}
