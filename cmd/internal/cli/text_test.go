package cli

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

func TestData(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", "(empty)"},
		{"hello", `"hello"`},
		{"counter = 1\x00", `"counter = 1"`}, // as C programs send it
		{"a\nb\t\"c\"", `"a\nb\t\"c\""`},
		{"\xff\xfe", "fffe"},
		{"a\x00b", "610062"},
		{"\x1b[2J", "1b5b324a"}, // nobody's data control the terminal
		{"grüße", `"grüße"`},
		{"1234567890123", `"123456789012"… (13 bytes)`},
	} {
		assert.Equal(t, c.out, Data([]byte(c.in), 12), "%q", c.in)
	}
	assert.Equal(t, "hi", Text([]byte("hi\x00")))
	assert.Equal(t, "00", Text([]byte{0, 0}[:1]), "a NUL alone is data")
}

func TestNumbersForPeople(t *testing.T) {
	assert.Equal(t, "0", Count(0))
	assert.Equal(t, "9999", Count(9999))
	assert.Equal(t, "10 000", Count(10000))
	assert.Equal(t, "1 234 567", Count(uint64(1234567)))
	assert.Equal(t, "-12 345", Count(-12345))
	assert.Equal(t, "512 B", Bytes(512))
	assert.Equal(t, "1.5 KiB", Bytes(1536))
	assert.Equal(t, "512 MiB", Bytes(int64(512<<20)))
	assert.Equal(t, "2.0 TiB", Bytes(int64(2<<40)))
	for d, s := range map[time.Duration]string{
		5: "5ns", 1500: "1.5µs", 25300 * time.Nanosecond: "25.3µs", 1200 * time.Microsecond: "1.2ms",
		2500 * time.Millisecond: "2.5s", 90 * time.Second: "1m30s",
	} {
		assert.Equal(t, s, Duration(d))
	}
	assert.Equal(t, "proc 1:1", ID(cbid.Proc))
	assert.Equal(t, "control -1:-1", ID(cbid.Control))
	assert.Equal(t, "7:8", ID(cbid.Make(7, 8)))
}

func TestParse(t *testing.T) {
	g, err := ParseGroup("0x123")
	require.NoError(t, err)
	assert.EqualValues(t, 291, g)
	g, err = ParseGroup("0x123:0x456")
	require.NoError(t, err)
	assert.EqualValues(t, 291, g)
	g, err = ParseGroup("proc")
	require.NoError(t, err)
	assert.EqualValues(t, 1, g)
	var usage *UsageError
	_, err = ParseGroup("-5")
	require.ErrorAs(t, err, &usage)
	_, err = ParseID("x")
	require.ErrorAs(t, err, &usage)
	_, err = ParseSet([]string{"1:1", "x"})
	require.ErrorAs(t, err, &usage)
	set, err := ParseSet(nil)
	require.NoError(t, err)
	assert.Nil(t, set, "nothing said is everything")
}

func FuzzParseHex(f *testing.F) {
	for _, s := range []string{"", "0xff", "de ad\tbe:ef", "f", "0x", "zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseHex(s)
		if err != nil {
			return
		}
		back, err := ParseHex(hex.EncodeToString(b))
		require.NoError(t, err)
		require.Equal(t, b, back)
	})
}
