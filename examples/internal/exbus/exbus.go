// Package exbus opens the bus that an example is to run on.
package exbus

import (
	"fmt"
	"strings"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// Open returns a bus for the value of an example's -bus flag: "loopback:" is a
// bus of this process alone, which shows the example without anything else running.
func Open(spec string) (connector.Bus, error) {
	kind, _, _ := strings.Cut(spec, ":")
	switch kind {
	case "loopback":
		return loopback.New(nil).Open(), nil
	}
	return nil, fmt.Errorf("bus %q: want loopback:", spec)
}
