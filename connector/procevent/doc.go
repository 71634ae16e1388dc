// Package procevent is about the kernel's process events, id 1:1 of its connector: the codec of
// all of them, a Client that knows what it missed, and an Agent that shares one
// subscription among any number of subscribers on a bus.
//
// # Client
//
// Dial subscribes. Since Linux 6.2 any user of the initial user, pid and network
// namespaces may; before, it takes CAP_NET_ADMIN. Recv yields the events in the order in which
// the kernel queued them: of one CPU in the order they happened, between CPUs nearly so (Event.Time tells).
//
// Nothing is lost silently. When the kernel's buffer was full, an Event of kind Lost stands behind what was
// queued then, with the exact number; the stream goes on, with a larger buffer if it may have one. Two
// counters are kept against each other in the Ledger: what the kernel dropped for the socket (SO_MEMINFO), and what is
// missing in the counters of the CPUs, which a probe on each CPU completes (Client.Audit). A loss that only the CPUs'
// counters show, because the kernel had no memory to send, is told too.
//
// What comes from anybody but the kernel (root may send to the group) is counted and refused by its source
// address. Anybody may lower the kernel's count of listeners and so silence everybody: the Client probes
// from time to time, raises the count again, and tells a Lost without a number.
//
// Close takes the subscription back (IGNORE). A process that ends without it leaves the kernel producing events for
// nobody until it is booted again; CloseOnSignal is for programs that signals end.
//
// The reader of the socket never waits for anything but the caller of Recv. With Config.Enrich, Recv looks into
// /proc, for at most a moment per process and never behind a file that is stuck; children are known by
// their parents without a look.
//
// # Agent
//
// NewAgent registers 1:1 as "proc" on a bus. It subscribes to the kernel while group 1 or the group of a filter
// has members, and only then. All numbers are in the host's byte order.
//
// A program written for the kernel works unchanged: it joins group 1 and sends LISTEN (u32 1, or u32 1 and a mask) to
// 1:1. The answer (same seq, ack + 1) has the bytes of the kernel's ack: 40 bytes with what 0, the time at 8, and an
// errno at 16. It comes when events flow. IGNORE (u32 2) is answered too, and leaving the group is what counts. An
// operation that is not known is answered with EINVAL. Group 1 has the kernel's bytes: id 1:1, seq the CPU's counter, 40 bytes
// of event. It is never filtered; the mask is left to the subscriber, who may apply it by Mask.Has. Answers of the kernel to
// others are not passed on, so the CPU's counters have holes there, and must not be taken for losses.
//
// Losses in the kernel reach each group in their place as messages with the id 1:0x6c6f7374 (LostID):
//
//	0        8
//	| count  |exact|     u64, u8: 9 bytes
//
// exact 1: count events are missing here. exact 0: at most count, or an unknown number if count is 0. In the group of
// a filter that keeps anything out it is always 0, since nobody knows what would have passed.
//
// # Filters
//
// SUBSCRIBE, sent to 1:1 as a request, asks for a group of one's own choice of events:
//
//	0              4         8
//	| 0x101        | joined  | attributes ...     at most 8192 bytes
//
//	attribute:  type u16, len u16 (of the value), value, padding to a multiple of 4
//	1 kinds     u32 mask of the kernel's numbers; 0x20000000 for exits with a status other than 0. Once at most
//	2 uid       u32 ..., real user ids
//	3 cgroup    path as in /proc/PID/cgroup, at most 4095 bytes: that cgroup and those below. May be repeated
//	4 tree      u32 ..., process ids: these processes and their descendants
//
// Each kind of attribute that is there must hold, of its values any. Attributes that are not known, and more than 64
// uids, 64 trees or 16 cgroups, are refused with EINVAL. Equal filters share a group. The answer is the kernel's ack again, with the
// group's number in the u32 at 20: 0x70000000 to 0x77ffffff. The agent owns the id {group, 1}, "proc filter".
//
// joined is 0 at first. After joining the group the same is sent once more with the group's number there: the answer then
// comes when events flow, and with another number if the filter had gone meanwhile, which then is to be joined
// instead. A filter without members is kept for AgentConfig.Grace.
//
// Users, cgroups and parents are followed by the events themselves; /proc is read for what is older, in the
// background of a bounded number of goroutines. A child has what its parent has; a cgroup is read anew after an exec, so one that changes
// later is noticed late. An event whose process cannot be judged any more is told as a Lost of at most 1. Groups are not secrets:
// who may join which is the bus's policy to say.
//
// Subscribe does all this for an endpoint.
//
// # Many hosts
//
// 1:1 and its groups stay on their host. For the others of a site (docs/hosts.md) Agent.Site registers {0x636e0006, number
// of the host}, which takes SUBSCRIBE and nothing else; all its numbers, and those of the events, are little-endian. The
// answer has the host's name behind the 40 bytes. The group is one of that host's: 0x78000000 + 32768 * number of the host
// and up, and also without a filter: then losses keep their exact number there. Its messages have the id that was asked, and
// behind the 40 bytes up to 512 bytes of the process's arguments with zero bytes between them, if AgentConfig.SiteNames is set. As with every
// group, events cross to a host only while somebody there listens, and what the way there loses is told by its number.
//
// SubscribeSite follows all hosts, by a watch of these ids: those that come and go, too.
package procevent
