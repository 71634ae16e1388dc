//go:build unix && !linux && !darwin

package tsocket

import "golang.org/x/sys/unix"

const tcpKeepIdle = unix.TCP_KEEPIDLE
