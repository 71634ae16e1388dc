package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"1": 1, "65536": 65536, "64k": 65536, "64K": 65536, "64KiB": 65536, "1M": 1 << 20, "1MiB": 1 << 20, "2g": 2 << 30, "100B": 100,
	} {
		var s byteSize
		require.NoError(t, s.Set(text), text)
		assert.Equal(t, want, s, text)
		var back byteSize
		require.NoError(t, back.Set(s.String()))
		assert.Equal(t, s, back)
	}
	for _, text := range []string{"", "k", "-1", "0", "1.5M", "1KK", "999999999G", "1 M x"} {
		var s byteSize
		assert.Error(t, s.Set(text), text)
	}
	size := byteSize(1 << 20)
	assert.Equal(t, "1MiB", size.String())
}

func FuzzByteSize(f *testing.F) {
	for _, s := range []string{"1", "64k", "1MiB", "-1", "9999999999999999999G", "B", "1iB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, back byteSize
		if s.Set(text) != nil {
			return
		}
		require.Positive(t, int64(s))
		require.NoError(t, back.Set(s.String()))
		require.Equal(t, s, back)
	})
}
