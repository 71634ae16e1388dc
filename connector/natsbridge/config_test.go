package natsbridge

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/procevent"
)

// TestGroupsThatStayHome: what package procevent numbers for one host stays there, what it numbers for the site does not.
func TestGroupsThatStayHome(t *testing.T) {
	cfg, err := (&Config{Host: "x"}).withDefaults()
	assert.NoError(t, err)
	for group := range uint32(0x100) {
		assert.True(t, cfg.Local(group), group)
	}
	assert.False(t, cfg.Local(0x100))
	for _, group := range []uint32{procevent.Group, procevent.FirstFilterGroup - 1, procevent.FirstFilterGroup, procevent.FirstSiteGroup - 1, procevent.FirstSiteGroup, 0x7fffffff, 0x80000000} {
		assert.Equal(t, procevent.StaysHome(group), cfg.Local(group), "%#x", group)
	}
}

func TestConfigCheck(t *testing.T) {
	for url, want := range map[string]string{
		"nats://a:1,tls://b":      "",
		"a:4222":                  "",
		"foo://a":                 "URL 1 of NATS is none of the kind",
		"nats://a,http://me:pw@b": "URL 2 of NATS is none of the kind",
		"nats://12/pw@b":          "URL 1 of NATS has a / ? or # before its @",
		"nats://me:12?pw@b":       "URL 1 of NATS has a / ? or # before its @",
		"nats://a,nats://12#pw@b": "URL 2 of NATS has a / ? or # before its @",
		"ws://a/nats":             "",
	} {
		err := (&Config{Host: "x", URL: url}).Check()
		if want == "" {
			assert.NoError(t, err, url)
			continue
		}
		assert.ErrorContains(t, err, want)
		assert.ErrorIs(t, err, connector.ErrInvalid)
		assert.NotContains(t, err.Error(), "pw")
	}
	assert.ErrorContains(t, (&Config{URL: "nats://a"}).Check(), "the host's name")
	assert.ErrorContains(t, (&Config{Host: "x", URL: "nats://a", Lease: 1}).Check(), "the least is 1s")
	assert.NoError(t, (&Config{Host: "x", Server: new(Embedded)}).Check())
}

func TestNoSecretIsShown(t *testing.T) {
	for list, want := range map[string]string{
		"nats://me:pw@a:1, token@b ,c":      "nats://a:1,nats://b,nats://c",
		"wss://token@a/nats/x?auth=pw#pw":   "wss://a/nats/x",
		"nats://me:12/pw@a,nats://a:pw":     "?,?",
		"nats:me:pw@a://b,nats:///me:pw@a,": "?,?,?",
	} {
		assert.Equal(t, want, hideSecrets(list), list)
	}
}
