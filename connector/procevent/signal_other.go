//go:build !unix

package procevent

import "os"

var endSignals = []os.Signal{os.Interrupt}

func raise(os.Signal) { os.Exit(1) }
