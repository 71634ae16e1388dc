package connector

import (
	"fmt"
	"iter"
	"slices"

	"github.com/cnbus/cnbus/cbid"
)

// Notify is the table of the control id: who asked to be told of which
// registrations. It does what 2005 did, with ranges as they were documented, and adds what 2005 lacked:
// a request belongs to an owner, counts against the owner's limit, is answered, and goes with
// its owner.
//
// It has one user at a time and takes no lock: the carrier that changes its
// registry calls it in the same order.
type Notify struct {
	perOwner, ranges int
	requests         []*notifyEntry // the newest last
	owners           map[uint64]notifyUse
	holds            func(c *Ctl, id cbid.ID) bool
}

type notifyEntry struct {
	owner uint64
	ctl   Ctl
}

// notifyUse is what an owner has in the table.
type notifyUse struct{ requests, ranges int }

// NotifyConfig are the settings of a Notify; nil and zero fields mean the
// defaults.
type NotifyConfig struct {
	Requests int // how many an owner may have; default 64
	Ranges   int // how many ranges they may have together; default 4096
}

const (
	defaultNotifyRequests = 64
	defaultNotifyRanges   = 4096
)

// NewNotify returns an empty table.
func NewNotify(config *NotifyConfig) *Notify {
	n := &Notify{
		perOwner: defaultNotifyRequests, ranges: defaultNotifyRanges,
		owners: make(map[uint64]notifyUse), holds: (*Ctl).Holds,
	}
	if config != nil && config.Requests > 0 {
		n.perOwner = config.Requests
	}
	if config != nil && config.Ranges > 0 {
		n.ranges = config.Ranges
	}
	return n
}

// Handle does what the data of a message to the control id ask for, on behalf
// of owner: ParseCtl, in the host's byte order, and Request.
func (n *Notify) Handle(owner uint64, data []byte) error {
	c, err := ParseCtl(data, native)
	if err != nil {
		return notifyError(0, err)
	}
	return n.Request(owner, c)
}

// Request adds c, or, when its group is 0, takes back every request of owner
// with the same ranges in the same order, whatever its group. As in 2005 the same request may be
// added twice, and its group is then told twice. Requests of other owners are not touched, as
// they were in 2005.
//
// It fails with ErrLimit when owner has too many requests or ranges, and
// with ErrNotFound when there is nothing to take back.
func (n *Notify) Request(owner uint64, c Ctl) error {
	if c.Group == 0 {
		return n.takeBack(owner, &c)
	}
	use := n.owners[owner]
	use.requests++
	use.ranges += len(c.Idx) + len(c.Val)
	switch {
	case use.requests > n.perOwner:
		return notifyError(c.Group, fmt.Errorf("%d requests: %w", n.perOwner, ErrLimit))
	case use.ranges > n.ranges:
		return notifyError(c.Group, fmt.Errorf("%d ranges, at most %d: %w", use.ranges, n.ranges, ErrLimit))
	}
	n.owners[owner] = use
	c.Idx, c.Val = slices.Clone(c.Idx), slices.Clone(c.Val)
	n.requests = append(n.requests, &notifyEntry{owner: owner, ctl: c})
	return nil
}

func notifyError(group uint32, err error) error {
	return &OpError{Op: "notify", ID: cbid.Control, HasID: true, Group: group, Err: err}
}

func (n *Notify) takeBack(owner uint64, c *Ctl) error {
	had := n.owners[owner].requests
	n.remove(owner, func(have *Ctl) bool { return slices.Equal(have.Idx, c.Idx) && slices.Equal(have.Val, c.Val) })
	if n.owners[owner].requests == had {
		return notifyError(0, fmt.Errorf("no such request: %w", ErrNotFound))
	}
	return nil
}

// DropOwner takes back every request of owner and returns how many there were.
func (n *Notify) DropOwner(owner uint64) int {
	had := n.owners[owner].requests
	if had > 0 {
		n.remove(owner, func(*Ctl) bool { return true })
	}
	return had
}

func (n *Notify) remove(owner uint64, which func(*Ctl) bool) {
	use := n.owners[owner]
	n.requests = slices.DeleteFunc(n.requests, func(e *notifyEntry) bool {
		if e.owner != owner || !which(&e.ctl) {
			return false
		}
		use.requests--
		use.ranges -= len(e.ctl.Idx) + len(e.ctl.Val)
		return true
	})
	if use.requests == 0 {
		delete(n.owners, owner)
	} else {
		n.owners[owner] = use
	}
}

// Len is how many requests there are, of all owners.
func (n *Notify) Len() int { return len(n.requests) }

// Owned is how many requests owner has.
func (n *Notify) Owned(owner uint64) int { return n.owners[owner].requests }

// Fire yields the groups to which NotifyMessage is to be multicast because id was
// registered or removed: one for each request that holds id, the newest first,
// so that a group may come several times. Its time grows with the number of
// requests; it does not allocate. The table must not be changed meanwhile.
func (n *Notify) Fire(id cbid.ID) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, e := range slices.Backward(n.requests) {
			if n.holds(&e.ctl, id) && !yield(e.ctl.Group) {
				return
			}
		}
	}
}

// NotifyMessage is what those who asked are told: a message with the id itself,
// seq 0, ack 0 when it was registered or 1 when it was removed, and no data.
func NotifyMessage(id cbid.ID, removed bool) Message {
	m := Message{ID: id}
	if removed {
		m.Ack = 1
	}
	return m
}

// Holds reports whether id.Idx is in one range of c.Idx and id.Val in one of c.Val.
func (c *Ctl) Holds(id cbid.ID) bool { return anyHolds(c.Idx, id.Idx) && anyHolds(c.Val, id.Val) }

func anyHolds(reqs []NotifyReq, n uint32) bool {
	for _, r := range reqs {
		if r.Holds(n) {
			return true
		}
	}
	return false
}
