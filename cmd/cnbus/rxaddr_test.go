package main

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

func TestRxTargets(t *testing.T) {
	for target, want := range map[string]struct {
		host string
		port uint16
	}{
		"afs1.example.com":      {"afs1.example.com", 7000},
		"afs1.example.com:7003": {"afs1.example.com", 7003},
		"192.0.2.1":             {"192.0.2.1", 7000},
		"192.0.2.1:1":           {"192.0.2.1", 1},
		"2001:db8::1":           {"2001:db8::1", 7000},
		"[2001:db8::1]":         {"2001:db8::1", 7000},
		"[2001:db8::1]:7002":    {"2001:db8::1", 7002},
		"[fe80::1%lo]:7002":     {"fe80::1%lo", 7002},
		"192.0.2.1:0":           {},
		"192.0.2.1:":            {},
		"192.0.2.1:65536":       {},
		"192.0.2.1:afs":         {},
		":7000":                 {},
		"":                      {},
		"[]":                    {},
	} {
		host, port, err := splitRx(target)
		if want.port == 0 {
			var usage *cli.UsageError
			assert.ErrorAs(t, err, &usage, target)
			continue
		}
		require.NoError(t, err, target)
		assert.Equal(t, want.host, host, target)
		assert.Equal(t, want.port, port, target)
	}
}

// FuzzRxAddress: what is taken as an address of RxRPC's commands is read the same when it is written in the usual way.
func FuzzRxAddress(f *testing.F) {
	for _, s := range []string{"afs1.example.com", "192.0.2.1:7003", "2001:db8::1", "[2001:db8::1]:7002", "[::1]", "7009", ":7009", "[fe80::1%lo]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var usage *cli.UsageError
		for _, split := range []func(string) (string, uint16, error){splitRx, splitListen} {
			host, port, err := split(s)
			if err != nil {
				require.ErrorAs(t, err, &usage)
				continue
			}
			again, number, err := split(net.JoinHostPort(host, strconv.Itoa(int(port))))
			if _, _, split := net.SplitHostPort(net.JoinHostPort(host, "1")); split != nil {
				continue // no host has such a name
			}
			require.NoError(t, err)
			require.Equal(t, host, again)
			require.Equal(t, port, number)
		}
	})
}
