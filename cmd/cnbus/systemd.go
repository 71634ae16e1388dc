package main

import (
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// activated returns the sockets that systemd passed, none without it.
func activated() ([]*os.File, error) {
	files := activation.Files(true)
	for i, f := range files {
		if f == nil {
			return nil, fmt.Errorf("LISTEN_FDS: descriptor %d is missing", 3+i)
		}
	}
	return files, nil
}

// What is told to systemd is of no consequence where there is none.

func systemdReady() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }

func systemdStopping() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }

// systemdReloading tells that a reload began; the function returned that it is
// over. Type=notify-reload wants the time with it.
func systemdReloading() (done func()) {
	_, _ = daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic()/time.Microsecond))
	return systemdReady
}
