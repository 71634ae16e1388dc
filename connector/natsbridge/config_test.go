package natsbridge

import (
	"testing"

	"github.com/stretchr/testify/assert"

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
