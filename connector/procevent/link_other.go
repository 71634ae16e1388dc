//go:build !linux

package procevent

import "github.com/cnbus/cnbus/connector"

func dialLink(*Config) (link, error) {
	return nil, &connector.OpError{Op: "dial", ID: ID, HasID: true, Err: connector.ErrNotSupported}
}
