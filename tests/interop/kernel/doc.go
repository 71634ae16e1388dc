// Package kernel boots Linux kernels that have AF_RXRPC in virtual machines, for
// interop tests, and runs commands in them.
//
// A machine has busybox, the kernel's modules that matter, and kx, a server and
// client on AF_RXRPC sockets. It is emulated in software and boots within 4 to 10 s; many
// commands can run in one machine, one after the other or at the same time.
//
// What was found out about the kernel on the way is in NOTES.md.
package kernel
