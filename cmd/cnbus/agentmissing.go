package main

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

// agentMissing says of an id that nobody has what that means here.
func agentMissing(err error, what string) error {
	if errors.Is(err, connector.ErrNoID) {
		return fmt.Errorf("the broker has no %s agent: %w", what, err)
	}
	return err
}
