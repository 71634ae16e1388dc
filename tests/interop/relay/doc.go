// Package relay is a bad network between two UDP programs on one machine, in
// userspace: datagrams to its address go on to a target, and the answers back,
// and on the way they are lost, held up, reordered, doubled, damaged, too large, or
// wait in a queue before a narrow line, each way as told.
//
//	r, err := relay.New(relay.Config{
//		Target: server, Seed: 1,
//		Up:   relay.Path{Delay: 5 * time.Millisecond, Loss: 0.01},
//		Down: relay.Path{Delay: 5 * time.Millisecond},
//	})
//	defer r.Close()
//	dial(r.Addr())
//
// Each client gets a socket of its own to the target, as a NAT does it; Rebind
// gives it another. What happens to the k-th datagram of a client in a direction
// depends on the seed, the client's place in the order of their first datagrams, the
// direction, the path and k: not on time. (A Rate is the exception: how full the queue
// is depends on time.)
//
// One thread does all the work, waits with the precision of the kernel's timers, and
// moves many datagrams with one system call.
package relay
