package abortcode_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/abortcode"
)

func ExampleString() {
	fmt.Println(abortcode.String(-3), abortcode.String(363524), abortcode.String(363599), abortcode.String(7))
	// Output: RX_CALL_TIMEOUT VL_NOENT 363599 (vl) 7
}

func TestCodesAreWhereTheyBelong(t *testing.T) {
	for name, want := range map[string]int32{
		"RX_CALL_DEAD": -1, "RX_USER_ABORT": -6, "RX_RESTARTING": -100, "RXGEN_OPCODE": -455,
		"VBUSY": 110, "UNOQUORUM": 5376, "UMUTEXDESTROY": 5413, "BZENCREQ": 39436, "PRNOENT": 267268,
		"PRNAMETOOLONG": 267282, "VL_NOENT": 363524, "VL_PERM": 363546, "VL_DBBAD": 363552, "KTC_TOKEN_MUTEX_FAIL": 11862794,
		"RXKADNOAUTH": 19270405, "RXKADILLEGALLEVEL": 19270412, "UAENOENT": 49733377, "UAEMEDIUMTYPE": 49733498,
		"VOLSERFAILEDOP": 1492325137, "RXGK_NOTAUTH": 1233242884,
	} {
		code, ok := abortcode.ByName(name)
		require.True(t, ok, name)
		assert.Equal(t, want, code, name)
		info, ok := abortcode.Lookup(code)
		require.True(t, ok, name)
		assert.Equal(t, name, info.Name)
		assert.Equal(t, name, abortcode.String(code))
		assert.NotEmpty(t, info.Text, name)
	}
	_, ok := abortcode.ByName("")
	assert.False(t, ok)
	_, ok = abortcode.ByName("VL_NOTHING")
	assert.False(t, ok)
	_, ok = abortcode.Lookup(0)
	assert.False(t, ok, "0 is no error")
}

func TestEveryTableHasTheNameThatItsNumberSpells(t *testing.T) {
	n := 0
	for i := range abortcode.All() {
		n++
		if i.Code < -4096 || i.Code > 4096 {
			assert.Equal(t, i.Table, abortcode.Table(i.Code), "%+v", i)
		} else {
			assert.Empty(t, abortcode.Table(i.Code), "%+v", i)
		}
		assert.Equal(t, strings.ToUpper(i.Name), i.Name)
		assert.False(t, strings.HasSuffix(i.Text, "."), i.Text)
	}
	assert.Greater(t, n, 300)
	for range abortcode.All() {
		break // an iterator that is left early
	}
}

func TestTableOfCodesWithoutName(t *testing.T) {
	assert.Equal(t, "ka", abortcode.Table(180480))
	assert.Equal(t, "butc", abortcode.Table(156566272))
	for _, code := range []int32{0, 1, 255, -1, -450, -100, 64 << 8} {
		assert.Empty(t, abortcode.Table(code), code)
	}
	assert.NotPanics(t, func() { abortcode.Table(-1 << 31); abortcode.Table(1<<31 - 1) })
}

func TestErrnosOfUAE(t *testing.T) {
	i, ok := abortcode.Lookup(49733377)
	require.True(t, ok)
	assert.Equal(t, syscall.ENOENT, i.Errno)
}
