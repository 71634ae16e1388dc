package afs

import (
	"context"
	"net/netip"
	"time"
)

// Procedures of the VOTE service.
const (
	VOTEDebugOld    = 10001
	VOTESDebugOld   = 10002
	VOTEGetSyncSite = 10003
	VOTEDebug       = 10004
	VOTESDebug      = 10005
	VOTEXDebug      = 10006
	VOTEXSDebug     = 10007
)

// Recovered is the recovery state of a site that has everything it needs.
const Recovered = 0x1f

// A Version is that of a replicated database.
type Version struct{ Epoch, Counter int32 }

// A VoteState is what a site of a replicated database thinks: ubik_debug_old.
type VoteState struct {
	Now                                  int32
	LastYesTime                          int32
	LastYesHost                          uint32
	LastYesState, LastYesClaim           int32
	LowestHost                           uint32
	LowestTime                           int32
	SyncHost                             uint32
	SyncTime                             int32
	SyncVersion, SyncTransaction         Version
	AmSyncSite, SyncSiteUntil, Servers   int32
	LockedPages, WriteLockedPages        int32
	LocalVersion                         Version
	ActiveWrite, Counter                 int32
	AnyReadLocks, AnyWriteLocks          int32
	RecoveryState                        int32
	CurrentTransaction, WriteTransaction int32
	EpochTime                            int32
}

// VoteDebug is VoteState with the site's addresses: ubik_debug.
type VoteDebug struct {
	VoteState
	Interfaces [256]uint32
}

// VoteXDebug tells besides whether the site has no vote.
type VoteXDebug struct {
	VoteDebug
	Clone int32
}

// A Vote is the data of a VOTE service at the only site of a database.
type Vote struct {
	Addr  netip.Addr // of the site
	Start time.Time
	Now   func() time.Time // nil is time.Now
}

// Service is the VOTE service on these data.
func (v *Vote) Service() *Service {
	s := &Service{ID: VOTEService}
	handle(s, VOTEDebugOld, func(context.Context, *None) (*VoteState, error) { r := v.state(); return &r, nil })
	handle(s, VOTEDebug, func(context.Context, *None) (*VoteDebug, error) { r := v.debug(); return &r, nil })
	handle(s, VOTEXDebug, func(context.Context, *None) (*VoteXDebug, error) { return &VoteXDebug{VoteDebug: v.debug()}, nil })
	// Of the other sites: there are none. The reference implementation says so by
	// this code.
	for _, number := range []uint32{VOTESDebugOld, VOTESDebug, VOTEXSDebug} {
		handle(s, number, func(context.Context, *Int32) (*None, error) { return nil, Code(2) })
	}
	handle(s, VOTEGetSyncSite, func(context.Context, *None) (*Uint32, error) { return &Uint32{number(v.Addr)}, nil })
	return s
}

func (v *Vote) debug() VoteDebug {
	d := VoteDebug{VoteState: v.state()}
	d.Interfaces[0] = number(v.Addr)
	return d
}

func (v *Vote) state() VoteState {
	now, start := time.Now(), int32(v.Start.Unix())
	if v.Now != nil {
		now = v.Now()
	}
	t, site, version := int32(now.Unix()), number(v.Addr), Version{Epoch: start, Counter: 1}
	return VoteState{
		Now: t, LastYesTime: t, LastYesHost: site, LastYesState: 1, LastYesClaim: t, LowestHost: site, LowestTime: t,
		SyncHost: site, SyncTime: t, SyncVersion: version, SyncTransaction: Version{Epoch: start},
		AmSyncSite: 1, SyncSiteUntil: t + 60, Servers: 1, LocalVersion: version, RecoveryState: Recovered, EpochTime: start,
	}
}
