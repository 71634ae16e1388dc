// Package overtls tests the broker's TLS listener: who is let in, as whom, and that all the promises of the bus
// hold over TLS.
package overtls
