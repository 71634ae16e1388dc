package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isNoProtocol reports whether the kernel was built without the connector.
func isNoProtocol(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT)
}
