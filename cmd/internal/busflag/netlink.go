package busflag

import (
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

func netlinkCarrier() (*Carrier, error) {
	return nil, fmt.Errorf("netlink: %w", connector.ErrNotSupported)
}
