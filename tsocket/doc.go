// Package tsocket offers asynchronous sockets with exact behaviour: streams and
// datagram sockets with one outstanding operation per direction, requests that
// can be waited for, called back and cancelled.
package tsocket
