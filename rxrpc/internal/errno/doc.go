// Package errno has the errnos of AF_RXRPC and of keys that only Linux has. Elsewhere
// they have Linux's numbers, which mean nothing to the system, so that they can be told
// from others.
package errno
