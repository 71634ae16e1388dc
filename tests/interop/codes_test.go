//go:build linux

package interop

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/abortcode"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestTranslateEtAgrees asks OpenAFS's own program which table and offset each
// code has.
func TestTranslateEtAgrees(t *testing.T) {
	var codes []string
	var infos []abortcode.Info
	for i := range abortcode.All() {
		if slices.Contains([]string{"u", "bz", "pt", "vl", "ktc", "rxk", "vols"}, i.Table) {
			infos = append(infos, i)
			codes = append(codes, strconv.Itoa(int(i.Code)))
		}
	}
	lines := strings.Split(strings.TrimSpace(rig.TranslateEt(t, codes...)), "\n")
	require.Len(t, lines, len(infos))
	for n, i := range infos {
		assert.Contains(t, lines[n], fmt.Sprintf("%d (%s).%d = ", i.Code, i.Table, i.Code&255))
		assert.NotContains(t, lines[n], "unknown code", "OpenAFS knows it: %s", i.Name)
	}
}
