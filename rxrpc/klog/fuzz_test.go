package klog

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/messages"

	"github.com/cnbus/cnbus/internal/testkdc"
)

// FuzzCache: whatever a cache has in it, it is read or refused.
func FuzzCache(f *testing.F) {
	f.Add([]byte("\x05\x04\x00\x00"))
	f.Add([]byte("\x05\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01R\x00\x00\x00\x01u"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCache(b)
		assert.NotEqual(t, c == nil, err == nil)
		if err == nil {
			assert.NotEmpty(t, c.user.NameString)
		}
	})
}

func FuzzKeytab(f *testing.F) {
	f.Add([]byte("\x05\x02\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseKeytab(b)
		assert.NotEqual(t, k == nil, err == nil)
	})
}

func FuzzConf(f *testing.F) {
	f.Add([]byte("[libdefaults]\n default_realm = R\n[realms]\n R = {\n  kdc = 127.0.0.1:88\n }\n[domain_realm]\n .a = R\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConf(b)
		assert.NotEqual(t, c == nil, err == nil)
	})
}

// FuzzAnswer: what a KDC, or anybody in its place, can send before it has shown that it knows a key.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{tagError, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := refusal(b); err != nil {
			_ = kdcError(err).Error()
			if no, ok := err.(messages.KRBError); ok {
				_ = guard(func() error {
					return preauthenticate(credentials.New("joe", realm).WithPassword(password), &no, &messages.ASReq{})
				})
			}
		}
		var as messages.ASRep
		if guard(func() error { return as.Unmarshal(b) }) == nil {
			_ = bounded(as.PAData)
		}
		var tgs messages.TGSRep
		_ = guard(func() error { return tgs.Unmarshal(b) })
	})
}

// TestCutOff: real files, and each of their beginnings.
func TestCutOff(t *testing.T) {
	k := testkdc.Start(t, realm)
	k.AddUser(t, "joe", password)
	cache, err := os.ReadFile(k.Init(t, "joe", password))
	require.NoError(t, err)
	tab, err := os.ReadFile(k.AddService(t, "robot"))
	require.NoError(t, err)
	c, err := parseCache(cache)
	require.NoError(t, err)
	require.Equal(t, "joe@"+realm, c.name())
	require.NotNil(t, c.home)
	for i := range cache {
		if c, err := parseCache(cache[:i]); err == nil {
			assert.Nil(t, c.home, "%d bytes: only where a credential ends", i)
		}
	}
	keys, err := parseKeytab(tab)
	require.NoError(t, err)
	require.Len(t, keys.Entries, 2)
	for i := range tab {
		if keys, err := parseKeytab(tab[:i]); err == nil {
			assert.Len(t, keys.Entries, 1, "%d bytes", i)
		}
	}
	// Lengths that are not there are not allocated.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range len(cache) - 4 {
		huge := append([]byte(nil), cache...)
		binary.BigEndian.PutUint32(huge[i:], 0x7fffffff)
		_, _ = parseCache(huge)
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100*len(cache)*len(cache)))
}
