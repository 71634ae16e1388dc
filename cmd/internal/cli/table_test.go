package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	tab := NewTable("NAME", ">N", "LAST")
	tab.Row("a", 5, "x")
	tab.Row("grüße", 1000, "")
	var b strings.Builder
	require.NoError(t, tab.Print(&b, Style{}))
	assert.Equal(t, "NAME      N  LAST\na         5  x\ngrüße  1000\n", b.String())
	b.Reset()
	require.NoError(t, tab.Print(&b, Style{on: true}))
	assert.True(t, strings.HasPrefix(b.String(), "\x1b[1mNAME      N  LAST\x1b[0m\na "), "colour does not shift columns")
}
