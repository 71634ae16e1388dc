// Package openafs starts the real OpenAFS for interop tests: the servers of a
// cell with their commands (Cell), commands that talk to somebody else's servers
// (Client), and rxpeer, a small client and server in C on OpenAFS's own Rx
// library (Peer).
//
// Nothing is installed: the programs run from where install.sh has unpacked
// them. OpenAFS has its paths compiled in, so a cell and its commands run in a
// root directory of their own, made of mounts; that needs a mount namespace in which
// the caller may mount, which the package rig gives to tests. rxpeer needs none of that.
//
// What was found out about OpenAFS on the way is in NOTES.md.
package openafs
