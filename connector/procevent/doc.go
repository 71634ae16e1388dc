// Package procevent is about the kernel's process events (NETLINK_CONNECTOR, id 1:1): the codec of
// all ten, a client that knows what it missed, and an agent that shares one
// subscription among many.
package procevent
