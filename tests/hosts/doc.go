// Package hosts tests a site of several hosts as it is: brokers and NATS servers are processes in network
// namespaces of their own, joined by a bridge, and are killed, cut off and slowed down while counted
// traffic passes. Afterwards the count must come out even, and registrations be right on every host within
// the times of docs/hosts.md.
//
// The world of the tests needs no root: see package rig.
package hosts
