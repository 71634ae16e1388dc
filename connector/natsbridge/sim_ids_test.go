package natsbridge

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// owners checks that every host that can see the store knows the same owner of each id: the one in the store.
func (s *sim) owners(ids []cbid.ID) {
	for _, id := range ids {
		var owner uint16
		if k := s.keys[bucketIDs][idKey(id)]; k != nil {
			v, err := parseOwner(k.value)
			require.NoError(s.t, err)
			if h := s.hosts[v.host-1]; h.core != nil && h.core.run == v.run {
				owner = v.host
			}
		}
		for _, h := range s.hosts {
			if h.core == nil {
				continue
			}
			info, known := h.ids[id]
			o := h.core.own[id.Key()]
			switch owner {
			case h.num:
				require.NotNil(s.t, o, "host %d has %v in the store", h.num, id)
				require.Equal(s.t, idInForce, o.state, "host %d, %v", h.num, id)
				require.Equal(s.t, connector.SiteInForce, h.state[id], "host %d, %v", h.num, id)
				require.False(s.t, known, "host %d knows its own %v as another's", h.num, id)
			case 0:
				require.False(s.t, known, "host %d knows %v, which nobody has: of %d", h.num, id, connector.HostOf(info.Port))
			default:
				require.True(s.t, known, "host %d does not know %v of host %d", h.num, id, owner)
				require.Equal(s.t, uint32(owner), connector.HostOf(info.Port), "host %d, %v", h.num, id)
				require.False(s.t, h.unknown[id], "host %d, %v", h.num, id)
				require.Nil(s.t, o, "host %d, %v is host %d's", h.num, id, owner)
				if _, had := h.state[id]; had {
					require.Equal(s.t, connector.SiteLost, h.state[id], "host %d was not told that it lost %v to host %d", h.num, id, owner)
				}
			}
		}
	}
}

func TestAnIDHasOneOwnerAndIsKnownWhenGranted(t *testing.T) {
	s := newSim(t, 1, 3)
	s.start()
	a, b, c := s.hosts[0], s.hosts[1], s.hosts[2]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	for a.granted[id] == "" {
		s.forward(ms)
	}
	assert.Equal(t, "ok", a.granted[id])
	assert.Contains(t, b.ids, id, "who is granted an id is known everywhere")
	assert.Contains(t, c.ids, id)

	b.register(id, false)
	s.forward(1000 * ms)
	assert.Contains(t, b.granted[id], "is registered by host host1 (number 1), port 1048577 (sim, ")

	b.register(id, true)
	s.forward(1000 * ms)
	assert.Equal(t, "ok", b.granted[id])
	assert.Equal(t, connector.SiteLost, a.state[id], "the owner is told")
	assert.Equal(t, "host host1 (number 1), which had it before, has given it up", b.text[id], "and the new one")
	s.owners([]cbid.ID{id})

	b.core.Unregister(id)
	b.turn()
	for b.gone[id] == 0 {
		s.forward(ms)
	}
	assert.NotContains(t, c.ids, id)
	assert.Empty(t, s.keys[bucketIDs])
	s.owners([]cbid.ID{id})
}

// TestUnknownThenGone: what others say of the ids of a host that is cut off, and when; and what it is told itself.
func TestUnknownThenGone(t *testing.T) {
	s := newSim(t, 2, 3)
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(4000 * ms)
	s.part(1, 0, 0)
	s.forward(simLease/2 + 100*ms)
	assert.True(t, b.unknown[id], "unknown after half a lease")
	assert.Contains(t, b.ids, id, "and not gone")
	s.forward(simLease/2 + 100*ms)
	assert.NotContains(t, b.ids, id, "gone after a lease")
	assert.Equal(t, connector.SiteSuspended, a.state[id], "the owner knows by its own clock")

	b.register(id, false)
	s.forward(1000 * ms)
	assert.Equal(t, "ok", b.granted[id], "the lease of its host has ended")
	s.part(0, 0, 0)
	s.forward(2 * simLease)
	assert.Equal(t, connector.SiteLost, a.state[id])
	assert.Equal(t, connector.SiteInForce, b.state[id])
	assert.Contains(t, a.text[id], "host2", "both owners are told of the other")
	assert.Contains(t, b.text[id], "host1")
	s.owners([]cbid.ID{id})
}

func TestAShortPartitionChangesNothing(t *testing.T) {
	s := newSim(t, 3, 3)
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(4000 * ms)
	s.part(1, 0, 0)
	s.forward(simLease * 2 / 3)
	assert.True(t, b.unknown[id])
	s.part(0, 0, 0)
	s.forward(5000 * ms)
	assert.False(t, b.unknown[id])
	assert.Empty(t, b.down)
	s.owners([]cbid.ID{id})
}

// TestOwnersAgreeAfterEverything: registrations, removals, takeovers, partitions, deaths and restarts in any order; when it
// is quiet, every host has the same owners, within two leases.
func TestOwnersAgreeAfterEverything(t *testing.T) {
	var ids []cbid.ID
	for i := range uint32(12) {
		ids = append(ids, cbid.Make(0x200+i%3, i))
	}
	for seed := range seeds(150) {
		s := newSim(t, 300+seed, 2+int(seed%4))
		s.start()
		for range 80 {
			h := s.hosts[s.rand.IntN(len(s.hosts))]
			id := ids[s.rand.IntN(len(ids))]
			switch n := s.rand.IntN(20); {
			case h.core == nil:
				if lease := s.keys[bucketHosts][leaseKey(h.num)]; lease == nil || lease.until <= s.now {
					delete(s.keys[bucketHosts], leaseKey(h.num))
					h.start()
				}
			case n < 9:
				if h.core.own[id.Key()] == nil {
					h.register(id, n == 0)
				}
			case n < 12:
				delete(h.state, id)
				h.core.Unregister(id)
				h.turn()
			case n < 14:
				side := make([]int, len(s.hosts))
				for i := range side {
					side[i] = s.rand.IntN(2)
				}
				s.part(side...)
			case n < 17:
				s.part(make([]int, len(s.hosts))...)
			case n == 17:
				h.kill()
			}
			s.loss = float64(s.rand.IntN(3)) * 0.02
			s.forward(s.rand.Int64N(simLease / 3))
		}
		s.part(make([]int, len(s.hosts))...)
		s.loss = 0
		s.forward(2 * simLease)
		s.owners(ids)
		for _, h := range s.hosts {
			if h.core != nil {
				assert.Empty(t, h.core.barriers)
				assert.Zero(t, h.core.stats.Refused, "%v", h.core.refused)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestAnIDIsGivenBackWhateverItsRevision: the store has taken a claim again, and its answer was lost; then the agent goes.
func TestAnIDIsGivenBackWhateverItsRevision(t *testing.T) {
	s := newSim(t, 5, 2)
	s.start()
	a := s.hosts[0]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(1000 * ms)
	require.Equal(t, "ok", a.granted[id])
	k := s.keys[bucketIDs][idKey(id)]
	s.store(storeOp{kind: storeUpdate, bucket: bucketIDs, key: idKey(id), value: k.value, rev: k.rev, then: func(r storeResult) { require.NoError(t, r.err) }})
	a.core.Unregister(id)
	a.turn()
	s.forward(simLease)
	assert.Empty(t, s.keys[bucketIDs])
	s.owners([]cbid.ID{id})
}

// TestWhoWasSuspendedMeanwhileIsToldToo: that the id was another host's, of whom it hears while it has no lease itself.
func TestWhoWasSuspendedMeanwhileIsToldToo(t *testing.T) {
	s := newSim(t, 6, 3)
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(1000 * ms)
	s.part(1, 0, 0)
	s.forward(simLease + 100*ms)
	b.register(id, false)
	s.forward(1000 * ms)
	require.Equal(t, "ok", b.granted[id])
	s.part(1, 2, 0)
	s.forward(2 * simLease)
	require.Equal(t, connector.SiteSuspended, b.state[id])
	b.core.connected = true // to a, which has no store either
	s.side[1] = 1
	a.core.setConnected(true)
	s.forward(2000 * ms)
	assert.Equal(t, connector.SiteLost, a.state[id])
	assert.Equal(t, connector.SiteSuspended, b.state[id])
	s.part(0, 0, 0)
	s.forward(2 * simLease)
	assert.Equal(t, connector.SiteInForce, b.state[id])
	assert.Contains(t, b.text[id], "host1")
	s.owners([]cbid.ID{id})
}

// TestAClaimThatComesToNothingEndsNoLease: the other ids of the host are in force, until the lease has ended.
func TestAClaimThatComesToNothingEndsNoLease(t *testing.T) {
	s := newSim(t, 7, 2)
	s.start()
	a := s.hosts[0]
	gone, other, later := cbid.Make(0x200, 1), cbid.Make(0x200, 2), cbid.Make(0x200, 3)
	a.register(gone, false)
	a.register(other, false)
	s.forward(1000 * ms)
	s.part(1, 0)
	s.forward(simLease / 2) // a renewal fails: the keys are looked at after it
	delete(s.keys[bucketIDs], idKey(gone))
	s.part(0, 0)
	for a.core.own[gone.Key()].state == idInForce {
		s.forward(ms)
	}
	s.side[0] = 1
	for !a.core.lease.reclaim {
		s.forward(ms)
	}
	s.side[0] = 0
	a.register(later, false)
	s.forward(simLease / renewals)
	assert.Equal(t, "ok", a.granted[later])
	s.forward(simLease)
	assert.Equal(t, connector.SiteInForce, a.state[gone])

	delete(s.keys[bucketIDs], idKey(gone))
	a.core.lease.verify = true
	for a.core.own[gone.Key()].state == idInForce {
		s.forward(ms)
	}
	s.part(1, 0)
	s.forward(simLease + 100*ms)
	assert.Equal(t, connector.SiteSuspended, a.state[other], "the lease ends for all ids")
	assert.Equal(t, connector.SiteSuspended, a.state[gone], "also for one that is being asked for")
	s.part(0, 0)
	s.forward(2 * simLease)
	s.owners([]cbid.ID{gone, other, later})
}

// TestNobodyWaitsForTheSiteLongerThanTheLease: what is not granted when it ends is refused, whatever has been done for it.
func TestNobodyWaitsForTheSiteLongerThanTheLease(t *testing.T) {
	s := newSim(t, 8, 2)
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	asked, known := cbid.Make(0x200, 1), cbid.Make(0x200, 2)
	a.register(asked, false)
	a.register(known, false)
	for a.core.own[known.Key()].state != idInForce { // the store has it, the other host does not say so yet
		s.forward(ms)
	}
	require.Empty(t, a.granted[known])
	a.core.own[asked.Key()].state = idClaiming
	a.core.suspend("the lease has ended")
	a.turn()
	for _, id := range []cbid.ID{asked, known} {
		assert.Contains(t, a.granted[id], "the lease has ended", "%v", id)
		assert.NotContains(t, a.core.own, id.Key())
	}
	s.forward(2 * simLease)
	assert.Empty(t, s.keys[bucketIDs])
	assert.NotContains(t, b.ids, known)
	s.owners([]cbid.ID{asked, known})

	// A client that comes again while the host has no contact leaves nothing of its last one behind.
	a.register(known, false)
	for a.core.own[known.Key()].state != idInForce {
		s.forward(ms)
	}
	a.core.lease.inForce = false
	a.register(known, false)
	s.forward(2 * simLease)
	assert.Contains(t, a.granted[known], "no contact")
	assert.Empty(t, s.keys[bucketIDs])
	assert.NotContains(t, b.ids, known)
}

// TestAnIDIsAskedForOnceAtATime, however often the lease is renewed meanwhile; and once more if the lease has ended meanwhile.
func TestAnIDIsAskedForOnceAtATime(t *testing.T) {
	s := newSim(t, 9, 2)
	s.start()
	a := s.hosts[0]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(1000 * ms)
	rev := s.keys[bucketIDs][idKey(id)].rev
	a.core.suspend("the lease has ended")
	before := s.ops
	a.core.resume()
	for range 5 {
		a.core.reclaim()
	}
	s.forward(50 * ms)
	assert.Equal(t, before+1, s.ops)
	assert.Equal(t, rev, s.keys[bucketIDs][idKey(id)].rev)
	assert.Equal(t, connector.SiteInForce, a.state[id])

	a.core.suspend("the lease has ended")
	a.core.resume()
	a.core.suspend("again")
	a.core.resume()
	before = s.ops
	s.forward(50 * ms)
	assert.Equal(t, before+2, s.ops, "it may have been taken between")
	assert.Equal(t, connector.SiteInForce, a.state[id])
}

// TestAnIDThatWasGivenUpMeanwhileIsAskedForAgain: another host has the key while the store is asked, and gives it up.
func TestAnIDThatWasGivenUpMeanwhileIsAskedForAgain(t *testing.T) {
	s := newSim(t, 10, 2)
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	id := cbid.Make(0x200, 1)
	a.register(id, false)
	s.forward(1000 * ms)
	a.core.suspend("the lease has ended")
	k := s.keys[bucketIDs][idKey(id)]
	theirs := storeOp{
		kind: storeUpdate, bucket: bucketIDs, key: idKey(id), rev: k.rev,
		value: idValue(b.num, b.core.run, &connector.IDInfo{ID: id, Port: connector.SitePort(uint32(b.num), 1), Name: "sim"}),
		then:  func(r storeResult) { k.rev = r.rev },
	}
	s.store(theirs)
	rev := s.keys[bucketIDs][idKey(id)].rev
	before := s.ops
	a.core.resume()
	for s.ops == before { // the key was read
		s.forward(ms / 10)
	}
	delete(s.keys[bucketIDs], idKey(id))
	record := appendNoID(nil, id, rev)
	require.NoError(t, a.core.noIDRecord(a.core.peers[b.num], &fields{b: record[len(record)-16:]}))
	s.forward(2 * simLease)
	assert.Equal(t, connector.SiteInForce, a.state[id])
	s.owners([]cbid.ID{id})
}
