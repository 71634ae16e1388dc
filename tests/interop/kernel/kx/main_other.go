//go:build !linux

// Command kx is for Linux, which alone has AF_RXRPC.
package main

func main() { panic("kx: no AF_RXRPC here") }
