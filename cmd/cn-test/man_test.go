package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/cmd/internal/mandoc"
	"github.com/cnbus/cnbus/internal/testenv"
)

var update = flag.Bool("update", false, "write the man pages (go generate does it)")

const manDir = "../../docs/man"

// The pages that are shipped say what the help says.
func TestManPages(t *testing.T) {
	root := newRoot(cli.New())
	if *update {
		require.NoError(t, os.MkdirAll(manDir, 0o755))
		require.NoError(t, mandoc.Write(root, manDir))
	}
	stale, err := mandoc.Stale(root, manDir)
	require.NoError(t, err)
	assert.Empty(t, stale, "stale man pages; run: go generate ./cmd/cnbus")

	root.Short += " (changed)"
	stale, err = mandoc.Stale(root, manDir)
	require.NoError(t, err)
	assert.Contains(t, stale, root.Name()+".1", "a change would be seen")
}

// man renders them without a complaint.
func TestManPagesRender(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		testenv.Skip(t, "no man: package man-db")
	}
	pages, err := mandoc.Pages(newRoot(cli.New()))
	require.NoError(t, err)
	for name := range pages {
		cmd := exec.CommandContext(t.Context(), "man", "--warnings", "-l", filepath.Join(manDir, name))
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80", "PAGER=cat")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), "NAME", name)
		assert.NotContains(t, string(out), "warning:", name)
	}
}
