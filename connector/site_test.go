package connector_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

func TestPortOfASite(t *testing.T) {
	p := connector.SitePort(connector.MaxHost, connector.MaxLocalPort)
	assert.Equal(t, uint32(0xffffffff), p)
	assert.Equal(t, uint32(connector.MaxHost), connector.HostOf(p))
	assert.Equal(t, uint32(connector.MaxLocalPort), connector.LocalPort(p))
	assert.Zero(t, connector.HostOf(connector.MaxLocalPort))
	assert.Equal(t, uint32(7), connector.LocalPort(connector.SitePort(3, 7)))
}

func TestABusOfOneProcessHasNoSite(t *testing.T) {
	b := loopback.New(nil).Open()
	defer b.Close()
	err := connector.AddSiteCallback(t.Context(), b, cbid.Make(0x200, 1), "x", nil, connector.SiteOptions{})
	assert.ErrorIs(t, err, connector.ErrNotSupported)
	assert.ErrorContains(t, err, "512:1")
}
