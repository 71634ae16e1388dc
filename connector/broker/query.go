package broker

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Owner is who a client is.
type Owner struct {
	Port uint32 `json:"port"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	PID  uint32 `json:"pid"`
	Name string `json:"name"`
}

// IDRow is a registered id, as `cnbus ls` shows it.
type IDRow struct {
	ID       cbid.ID   `json:"id"`
	Name     string    `json:"name"`
	Group    uint32    `json:"group"`
	Owner    Owner     `json:"owner"`
	Since    time.Time `json:"since"`
	Messages uint64    `json:"messages"`       // that its callback was given
	Members  int       `json:"members"`        // of the group
	Held     bool      `json:"held"`           // the agent is busy and asked to wait
	Site     bool      `json:"site,omitempty"` // registered for all hosts
	// Suspended says that it is for all hosts, and counts for its own alone until that has contact to the site.
	Suspended bool   `json:"suspended,omitempty"`
	Host      uint32 `json:"host,omitempty"`    // that has it, if it is another one
	Unknown   bool   `json:"unknown,omitempty"` // that host cannot be reached
}

// ConnRow is a client.
type ConnRow struct {
	Owner
	Remote        string    `json:"remote,omitempty"` // address and subject of a client over TLS
	Since         time.Time `json:"since"`
	Registrations int       `json:"registrations"`
	Groups        []uint32  `json:"groups"`
	Queued        int       `json:"queued"`  // bytes
	Full          bool      `json:"full"`    // senders wait for it
	Waiting       int       `json:"waiting"` // senders told to stop because of it
	Paused        bool      `json:"paused"`  // it is not read
	ConnStats
}

// GroupRow is a multicast group.
type GroupRow struct {
	Group     uint32      `json:"group"`
	Members   int         `json:"members"`
	Published uint64      `json:"published"` // messages
	Dropped   uint64      `json:"dropped"`   // messages for full members, one for each of them
	History   *HistoryRow `json:"history,omitempty"`
}

// HistoryRow is what a group keeps.
type HistoryRow struct {
	First    uint64        `json:"first"`        // position of the oldest message
	Last     uint64        `json:"last"`         // and of the newest; 0 before there was one
	Bytes    int           `json:"bytes"`        // that the messages take
	Store    int           `json:"store"`        // bytes that there is room for now
	Messages int           `json:"max_messages"` // bounds; 0 is none
	MaxBytes int           `json:"max_bytes"`
	Age      time.Duration `json:"max_age_ns"`
	Epoch    uint64        `json:"epoch"`
	Durable  bool          `json:"durable,omitempty"` // the site's store has it; first to bytes are of what is here
}

// UserRow is what one uid uses.
type UserRow struct {
	UID           uint32            `json:"uid"`
	Connections   int               `json:"connections"`
	Registrations int               `json:"registrations"`
	Memberships   int               `json:"memberships"` // of groups
	Watches       int               `json:"watches"`     // Watchers and notify requests
	Follows       int               `json:"follows"`     // ports whose end is to be told
	QueuedBytes   int64             `json:"queued_bytes"`
	HistoryBytes  int64             `json:"history_bytes"`
	Exceeded      map[string]uint64 `json:"exceeded,omitempty"` // how often a limit refused something, by its name
	Limits        Limits            `json:"limits"`
}

// StatRow is the broker as a whole.
type StatRow struct {
	Instance uint64    `json:"instance"` // of this run of the broker
	PID      uint32    `json:"pid"`
	UID      uint32    `json:"uid"`
	Time     time.Time `json:"time"`
	Clients  int       `json:"clients"`
	IDs      int       `json:"ids"`
	Groups   int       `json:"groups"`
	Monitors int       `json:"monitors"` // clients that see everything that passes
	Stats
	Denied map[string]uint64 `json:"denied"` // what agents were not let do for clients, by the key of the policy
	Users  []UserRow         `json:"users"`
}

// handleQuery answers with JSON. Everyone sees ids and groups; of clients and
// users a caller sees its own uid's, an administrator all.
func (h *hub) handleQuery(c *conn, hd *frame.Header, what string) {
	mine := func(uid uint32) bool { return c.rights.admin || uid == c.cred.UID }
	var v any
	switch what {
	case "ids":
		v = h.idRows()
	case "conns":
		v = h.connRows(mine)
	case "groups":
		v = h.groupRows()
	case "stat":
		v = h.statRow(mine)
	case "policy":
		v = h.rules.Check(c.cred, c.gids)
	default:
		h.answer(c, hd.Tag, connector.ErrInvalid, "unknown query")
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		h.answer(c, hd.Tag, connector.ErrInvalid, err.Error())
		return
	}
	for more := true; more; {
		piece := b[:min(len(b), frame.MaxBody)]
		b = b[len(piece):]
		more = len(b) > 0
		d := frame.Header{Type: frame.Data, Tag: hd.Tag}
		if more {
			d.Flags = frame.FlagMore
		}
		h.control(c, d, piece...)
	}
}

func (c *conn) owner() Owner {
	return Owner{Port: c.port, UID: c.cred.UID, GID: c.cred.GID, PID: c.cred.PID, Name: c.name}
}

func (h *hub) idRows() []IDRow {
	rows := make([]IDRow, 0, len(h.ids))
	for _, r := range h.ids {
		row := IDRow{
			ID: r.id, Name: r.name, Group: r.id.Idx, Owner: r.owner.owner(), Since: time.Unix(0, r.since),
			Messages: r.count, Held: r.held, Site: r.wide || r.suspended || r.far, Suspended: r.suspended || r.lapsed, Unknown: r.unknown,
		}
		if r.far {
			row.Host = connector.HostOf(r.owner.port)
		}
		if g := h.groups[r.id.Idx]; g != nil {
			row.Members = len(g.members)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b IDRow) int { return a.ID.Compare(b.ID) })
	return rows
}

func (h *hub) connRows(mine func(uint32) bool) []ConnRow {
	rows := make([]ConnRow, 0, len(h.conns))
	for _, c := range h.conns {
		if !mine(c.cred.UID) {
			continue
		}
		rows = append(rows, ConnRow{
			Owner: c.owner(), Remote: c.remote, Since: time.Unix(0, c.since), Registrations: len(c.regs),
			Groups: slices.Sorted(maps.Keys(c.members)), Queued: c.out.len(), Full: h.full(c),
			Waiting: len(c.stops), Paused: c.paused, ConnStats: c.stat,
		})
	}
	slices.SortFunc(rows, func(a, b ConnRow) int { return cmp.Compare(a.Port, b.Port) })
	return rows
}

func (h *hub) groupRows() []GroupRow {
	rows := make([]GroupRow, 0, len(h.groups))
	for _, g := range h.groups {
		row := GroupRow{Group: g.num, Members: len(g.members), Published: g.published, Dropped: g.dropped}
		if t := g.hist; t != nil {
			row.History = &HistoryRow{
				First: t.ring.First(), Last: t.ring.Last(), Bytes: t.ring.Bytes(), Store: t.ring.StoreLen(),
				Messages: t.want.Messages, MaxBytes: t.want.Bytes, Age: t.want.Age, Epoch: t.epoch,
			}
			if t.durable != nil {
				want, _ := h.durableHistory(g.num)
				row.History.Messages, row.History.MaxBytes, row.History.Age, row.History.Durable = want.Messages, want.Bytes, want.Age, true
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b GroupRow) int { return cmp.Compare(a.Group, b.Group) })
	return rows
}

func (h *hub) statRow(mine func(uint32) bool) StatRow {
	row := StatRow{
		Instance: h.instance, PID: h.self.PID, UID: h.self.UID, Time: time.Unix(0, h.now),
		Clients: len(h.conns), IDs: len(h.ids), Groups: len(h.groups), Monitors: len(h.monitors), Stats: h.stats,
	}
	row.Failed = maps.Clone(h.stats.Failed)
	row.Denied = h.gate.counts()
	for _, c := range h.conns {
		row.Sent += c.stat.Sent
	}
	excess := h.gate.excess()
	for _, exceeded := range excess {
		for _, n := range exceeded {
			row.Limited += n
		}
	}
	for _, a := range h.accounts {
		if mine(a.uid) {
			exceeded := maps.Clone(a.exceeded)
			if more := excess[a.uid]; more != nil {
				maps.Copy(more, exceeded)
				exceeded = more
				delete(excess, a.uid)
			}
			row.Users = append(row.Users, UserRow{
				UID: a.uid, Connections: a.conns, Registrations: a.regs, Memberships: a.members, Watches: a.watches, Follows: a.follows,
				QueuedBytes: a.queued, HistoryBytes: a.history, Exceeded: exceeded, Limits: a.limits,
			})
		}
	}
	for uid, exceeded := range excess { // who has nothing here any more
		if mine(uid) {
			row.Users = append(row.Users, UserRow{UID: uid, Exceeded: exceeded, Limits: h.rules.limitsOf(uid)})
		}
	}
	slices.SortFunc(row.Users, func(a, b UserRow) int { return cmp.Compare(a.UID, b.UID) })
	return row
}
