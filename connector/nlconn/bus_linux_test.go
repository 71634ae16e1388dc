package nlconn

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/internal/usernet"
)

type site struct {
	proto Protocol
	small bool
}

func (s site) Bus(t testing.TB, _ bustest.BusOptions) connector.Bus {
	cfg := &Config{Protocol: s.proto, ReadBuffer: 2 << 20, Log: slog.New(slog.DiscardHandler)}
	if s.small {
		cfg.Queue = 16 << 10
	}
	b, err := Open(cfg)
	require.NoError(t, err)
	return b
}

func (s site) Close() {}

// caps are what netlink can promise; the table in the package comment says what not.
func caps() bustest.Caps {
	return bustest.Caps{Registry: true, NoID: true, NoPort: true, AgentGone: true, Cred: true, MaxGroup: MaxGroup}
}

// The suite that every carrier passes, on real netlink in a namespace of its own.
func TestBusConnector(t *testing.T) { testBus(t, Connector) }

func TestBusUserSock(t *testing.T) { testBus(t, UserSock) }

func testBus(t *testing.T, proto Protocol) {
	usernet.Private(t, func(t *testing.T) {
		bustest.Run(t, bustest.Carrier{
			Name: proto.String(), Caps: caps(),
			New: func(_ testing.TB, opt bustest.SiteOptions) bustest.Site { return site{proto, opt.Small} },
		})
	})
}
