// Package agentbench measures what goes through the bus in the place of a socket of one's own: streams
// between two processes, and what the agents offer.
//
// Each group of rows has a file of its own with its experiments, which Suite lists, and one with its roles.
package agentbench
