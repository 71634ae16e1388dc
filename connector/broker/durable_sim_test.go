package broker

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// keptSim is the store's history of a group.
type keptSim struct {
	epoch uint64
	first uint64
	msgs  []Stored // from first on
	want  connector.History
}

func (k *keptSim) last() uint64 { return k.first + uint64(len(k.msgs)) - 1 }

// evict has the store keep the newest n messages only.
func (k *keptSim) evict(n int) {
	drop := max(0, len(k.msgs)-n)
	k.first += uint64(drop)
	k.msgs = k.msgs[drop:]
}

// from are the messages from pos on, at most n, as they come to a host.
func (k *keptSim) from(pos uint64, n int) []Stored {
	at := min(uint64(len(k.msgs)), max(pos, k.first)-k.first)
	msgs := slices.Clone(k.msgs[at:min(uint64(len(k.msgs)), at+uint64(n))])
	for i := range msgs {
		msgs[i].Frame = slices.Clone(msgs[i].Frame)
	}
	return msgs
}

func (s *siteSim) keeps(group uint32, want connector.History) *keptSim {
	k := s.kept[group]
	if k == nil {
		k = &keptSim{epoch: 1000 + uint64(len(s.kept)), first: 1, want: want}
		s.kept[group] = k
	}
	return k
}

func (h *hostSim) Append(group uint32, want connector.History, port uint32, cred connector.Cred, fr []byte) {
	fr = slices.Clone(fr)
	hd := frame.ParseHeader(fr)
	h.queue = append(h.queue, func() {
		k := h.all.keeps(group, want)
		pos := k.last() + 1
		k.msgs = append(k.msgs, Stored{Pos: pos, Port: port, Cred: cred, Frame: fr})
		k.evict(max(want.Messages, 1))
		if hd.Flags&frame.FlagAck != 0 {
			require.NoError(h.t, h.loop.Deliver(storeHost, port, frame.Header{Type: frame.Ack, Tag: hd.Tag}.Append(nil)))
		}
		h.loop.Credit(storeHost, port, len(fr))
		for _, to := range h.all.hosts {
			to.queue = append(to.queue, func() { to.pull(group) })
		}
	})
}

// pull reads what the store has for the host.
func (h *hostSim) pull(group uint32) {
	if h.h.site == nil {
		h.read[group] = 0
	}
	k := h.all.kept[group]
	if pos := h.read[group]; pos != 0 && k != nil {
		for _, m := range k.from(pos, 1<<30) {
			h.loop.Stored(group, &m)
			h.read[group] = m.Pos + 1
		}
	}
}

func (h *hostSim) Locate(group uint32, want connector.History) {
	h.queue = append(h.queue, func() {
		if h.refuse != nil {
			h.loop.Located(group, 0, 0, 0, false, h.refuse, "refused")
			return
		}
		k := h.all.keeps(group, want)
		h.loop.Located(group, k.epoch, k.first, k.last(), false, nil, "")
	})
}

func (h *hostSim) Read(group uint32, pos uint64) {
	h.read[group] = pos
	h.queue = append(h.queue, func() { h.pull(group) })
}

func (h *hostSim) Fetch(group uint32, pos uint64) {
	h.queue = append(h.queue, func() {
		k := h.all.kept[group]
		h.loop.Fetched(group, pos, k.first, k.from(pos, 7))
	})
}

func (h *hostSim) Define(group, tag uint32, want connector.History) {
	h.queue = append(h.queue, func() {
		if want.Durable {
			h.all.keeps(group, want).want = want
		} else {
			delete(h.all.kept, group)
		}
		for _, to := range h.all.hosts {
			to.queue = append(to.queue, func() { to.loop.SetDurable(group, want) })
		}
		h.queue = append(h.queue, func() { h.loop.Defined(group, tag, nil, "") })
	})
}
