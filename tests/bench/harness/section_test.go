package harness

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReplaceSectionTouchesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.md")
	const text = "# Title\n\n<!-- bench:bus -->\nold\n<!-- /bench:bus -->\n\n<!-- bench:rx -->\nkept\n<!-- /bench:rx -->\nend\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	for range 2 { // the second time changes nothing
		require.NoError(t, ReplaceSection(path, "bus", "| new |\n"))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "# Title\n\n<!-- bench:bus -->\n\n| new |\n\n<!-- /bench:bus -->\n\n<!-- bench:rx -->\nkept\n<!-- /bench:rx -->\nend\n", string(b))
	}
	require.ErrorContains(t, ReplaceSection(path, "nosuch", ""), "no section")
	require.ErrorIs(t, ReplaceSection(path+"x", "bus", ""), os.ErrNotExist)
}

func TestMachineNamesWhatMatters(t *testing.T) {
	m := Machine()
	assert.Contains(t, m, "CPUs")
	assert.Contains(t, m, runtime.Version())
	assert.Equal(t, "Fast One", cpuModel("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Other\n"))
	assert.Empty(t, cpuModel("processor: 0\n"))
}
