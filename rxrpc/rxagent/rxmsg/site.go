package rxmsg

import "github.com/cnbus/cnbus/cbid"

// SiteID is the id at which the RxRPC agent of a host is to be had on the whole site (docs/hosts.md), if the host offers it; 0 is the
// host that one is on.
func SiteID(host uint32) cbid.ID {
	if host == 0 {
		return cbid.RxRPC
	}
	return cbid.Make(cbid.RxRPCSiteIdx, host)
}
