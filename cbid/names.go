package cbid

import "iter"

// Control is the identifier of the connector itself, {-1, -1}: requests to be
// notified about registrations are sent to it (linux/connector.h of 2005,
// CN_IDX_CONNECTOR and CN_VAL_CONNECTOR; today's kernel no longer has it).
var Control = ID{Idx: 0xffffffff, Val: 0xffffffff}

// The identifiers that linux/connector.h gives to drivers of the kernel. Their
// Idx is also the netlink group they multicast to.
var (
	Proc = ID{1, 1}   // cn_proc: process events (CN_IDX_PROC)
	CIFS = ID{2, 1}   // cifs: upcalls (CN_IDX_CIFS)
	W1   = ID{3, 1}   // w1: 1-wire bus (CN_W1_IDX)
	V86D = ID{4, 1}   // v86d: uvesafb's helper (CN_IDX_V86D, CN_VAL_V86D_UVESAFB)
	BB   = ID{5, 1}   // BlackBoard (CN_IDX_BB); the header names no val, 1 is the one all others have
	DST  = ID{6, 1}   // dst: distributed storage (CN_DST_IDX)
	DM   = ID{7, 1}   // device mapper: userspace dirty log (CN_IDX_DM, CN_VAL_DM_USERSPACE_LOG)
	DRBD = ID{8, 1}   // drbd: events (CN_IDX_DRBD)
	KVP  = ID{9, 1}   // Hyper-V key-value pairs (CN_KVP_IDX)
	VSS  = ID{0xa, 1} // Hyper-V volume shadow copies (CN_VSS_IDX)
)

// The identifiers of this project's own agents. Their Idx begins with 0x636e
// ("cn"), far outside what the kernel gives out, so that no driver of any kernel is
// mistaken for one of them.
var (
	RxRPC   = ID{0x636e0001, 1} // RxRPC agent: sendmsg and recvmsg of AF_RXRPC as messages
	TSocket = ID{0x636e0002, 1} // tsocket agent: socket operations as messages
	Broker  = ID{0x636e0003, 1} // the broker itself
	CnTest  = ID{0x636e0004, 1} // cn-test: its counter messages and pings
	BusSock = ID{0x636e0005, 1} // sockets between two endpoints of the bus: what their ends send each other
)

// ProcSiteIdx is the Idx of the process events for the other hosts of a site; the Val is the number of the host.
const ProcSiteIdx = 0x636e0006

// RxRPCSiteIdx and TSocketSiteIdx are the Idx of a host's agents for the other hosts of its site; the Val is the number of the host.
const (
	RxRPCSiteIdx   = 0x636e0007
	TSocketSiteIdx = 0x636e0008
)

// OfHost reports whether the ids of idx are those of a host's agents for the others of its site: only the host whose number is
// the Val may have one.
func OfHost(idx uint32) bool {
	return idx == ProcSiteIdx || idx == RxRPCSiteIdx || idx == TSocketSiteIdx
}

// known is in the order of identifiers.
var known = [...]struct {
	name string
	id   ID
}{
	{"proc", Proc},
	{"cifs", CIFS},
	{"w1", W1},
	{"v86d", V86D},
	{"bb", BB},
	{"dst", DST},
	{"dm", DM},
	{"drbd", DRBD},
	{"kvp", KVP},
	{"vss", VSS},
	{"rxrpc", RxRPC},
	{"tsocket", TSocket},
	{"broker", Broker},
	{"cn-test", CnTest},
	{"bussock", BusSock},
	{"control", Control},
}

// Name returns the well-known name of id, as Parse takes it.
func (id ID) Name() (name string, ok bool) {
	for i := range known {
		if known[i].id == id {
			return known[i].name, true
		}
	}
	return "", false
}

// ByName returns the identifier with that well-known name.
func ByName(name string) (id ID, ok bool) {
	for i := range known {
		if known[i].name == name {
			return known[i].id, true
		}
	}
	return ID{}, false
}

// Names returns the well-known names with their identifiers, in the order of the
// latter.
func Names() iter.Seq2[string, ID] {
	return func(yield func(string, ID) bool) {
		for _, k := range known {
			if !yield(k.name, k.id) {
				return
			}
		}
	}
}
