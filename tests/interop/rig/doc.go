// Package rig gives tests real peers to talk to: OpenAFS's servers and commands,
// rxpeer (C, on OpenAFS's Rx library), and the Linux kernel's AF_RXRPC in a virtual
// machine.
//
//	func TestMain(m *testing.M) { rig.Main(m) }
//
//	func TestProbe(t *testing.T) {
//		cell := rig.OpenAFS(t, openafs.CellConfig{Mode: openafs.Auth})
//		out := cell.Run(t, "vos", "listvldb", "-localauth")
//		peer := rig.Peer(t, netip.AddrPort{}, "-nojumbo")
//		vm := rig.VM(t, kernel.Config{Flavour: kernel.Newest, Command: "kx server -svc 1234"})
//		...
//	}
//
// Main runs the tests of the package in namespaces of their own: a network with a
// loopback device and nothing else, in which every port is free and which has the
// address rig.Addr; a view of the file system in which they may mount; processes
// that all end with them. Nobody needs root for it, tests of several packages do
// not disturb each other, and whatever a killed test leaves behind ends.
//
// What a peer needs and the machine has not is a reason to skip, which
// internal/testenv turns into a failure where nothing may be skipped.
package rig
