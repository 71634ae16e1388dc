//go:build linux

// Command kx is a server and a client on Linux's AF_RXRPC sockets. It runs in
// the virtual machines of the interop tests, where it is all that they have
// besides busybox.
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// defKey is the DES key that a server and a client have unless they are told
// another. Its parity is right as it stands.
const defKey = "0123456789abcdef"

func main() {
	if len(os.Args) < 2 {
		die("usage: kx server|client|probe [flags]")
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "server":
		server(args)
	case "client":
		os.Exit(client(args))
	case "probe":
		probe()
	default:
		die("unknown command %s", os.Args[1])
	}
}

func die(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "kx: "+format+"\n", a...)
	os.Exit(1)
}

// errs shows an error with its number, which is what tests look at.
func errs(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return fmt.Sprintf("errno %d (%v)", int(no), no)
	}
	return fmt.Sprint(err)
}

// pattern is the body of echoes and of generated replies.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func mustKey(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 8 {
		die("a key has 16 hex digits: %q", s)
	}
	return b
}
