package afs

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Server is a file server with its addresses.
type Server struct {
	UUID   [16]byte
	Unique int32
	Addrs  []netip.Addr // IPv4, at least one
}

// A Volume is one that a VLDB knows.
type Volume struct {
	Name  string
	ID    [3]uint32 // by ReadWrite, ReadOnly, Backup; 0 for none
	Flags int32     // which of them exist; 0 is HasReadWrite
	Sites []Site    // at most 13
}

// A Site is where a volume is.
type Site struct {
	Server    int // place in VLDB.Servers
	Partition int32
	Flags     int32
}

// A VLDB is the data of a VL service. Change it only before it is served.
type VLDB struct {
	Servers []Server
	Volumes []Volume
	// Admin reports whether the caller may allot volume ids; nil allows nobody.
	Admin func(ctx context.Context) bool

	mu    sync.Mutex // guards maxID
	maxID uint32
}

// Service is the VL service on these data.
func (db *VLDB) Service() *Service {
	s := &Service{ID: VLService}
	handle(s, VLProbeServer, func(context.Context, *None) (*None, error) { return &None{}, nil })
	handle(s, VLGetEntryByID, func(_ context.Context, a *IDArgs) (*VolumeEntry8, error) { return entry8(db.byID(a)) })
	handle(s, VLGetEntryByIDN, func(_ context.Context, a *IDArgs) (*VolumeEntry, error) { return db.byID(a) })
	handle(s, VLGetEntryByName, func(_ context.Context, a *NameArgs) (*VolumeEntry8, error) { return entry8(db.byName(a)) })
	handle(s, VLGetEntryByNameN, func(_ context.Context, a *NameArgs) (*VolumeEntry, error) { return db.byName(a) })
	handle(s, VLGetEntryByNameU, func(_ context.Context, a *NameArgs) (*VolumeEntryU, error) { return db.byNameU(a) })
	handle(s, VLListAttributes, func(_ context.Context, a *Attributes) (*ListResult, error) {
		all, err := db.list(a, "")
		r := &ListResult{Count: int32(len(all))}
		for i := range all {
			e, err := entry8(&all[i], nil)
			if err != nil {
				return nil, err
			}
			r.Entries = append(r.Entries, *e)
		}
		return r, err
	})
	handle(s, VLListAttributesN, func(_ context.Context, a *Attributes) (*ListNResult, error) {
		all, err := db.list(a, "")
		return &ListNResult{int32(len(all)), all}, err
	})
	handle(s, VLListAttributesN2, func(_ context.Context, a *ListN2Args) (*ListN2Result, error) {
		all, err := db.list(&a.Attributes, a.Name)
		if err != nil {
			return nil, err
		}
		for i := range all {
			all[i].MatchIndex |= matchAnyType
		}
		return page(all, int(a.Start)), nil
	})
	handle(s, VLGetAddrs, func(context.Context, *GetAddrsArgs) (*GetAddrsResult, error) { return db.addrs(), nil })
	handle(s, VLGetAddrsU, func(_ context.Context, q *AddrQuery) (*GetAddrsUResult, error) { return db.addrsOf(q) })
	handle(s, VLGetStats, func(context.Context, *None) (*StatsResult, error) {
		return &StatsResult{Version: 4, Total: [3]int32{int32(len(db.Volumes))}}, nil
	})
	handle(s, VLGetNewVolumeID, db.newID)
	return s
}

// matchAnyType is what OpenAFS's server adds to the place of the site that matched
// when the volume matches as such.
const matchAnyType = 0x40000

// pageSize is how many entries one reply has at most.
const pageSize = 100

func page(all []VolumeEntry, start int) *ListN2Result {
	start = min(max(start, 0), len(all))
	end := min(start+pageSize, len(all))
	r := &ListN2Result{Count: int32(end - start), Entries: all[start:end], Next: -1}
	if end < len(all) {
		r.Next = int32(end)
	}
	return r
}

func (db *VLDB) newID(ctx context.Context, bump *Uint32) (*Uint32, error) {
	if db.Admin == nil || !db.Admin(ctx) {
		return nil, VLPermission
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	first := db.maxID
	for _, v := range db.Volumes {
		first = max(first, slices.Max(v.ID[:])+1)
	}
	first = max(first, 1<<29) // where AFS begins
	db.maxID = first + bump.Value
	return &Uint32{first}, nil
}

func (db *VLDB) byID(a *IDArgs) (*VolumeEntry, error) {
	for i := range db.Volumes {
		if a.ID != 0 && slices.Contains(db.Volumes[i].ID[:], a.ID) {
			return db.entry(&db.Volumes[i]), nil
		}
	}
	return nil, VLNoEntry
}

func (db *VLDB) find(name string) (*Volume, error) {
	for _, suffix := range []string{".readonly", ".backup"} { // they share the entry
		name = strings.TrimSuffix(name, suffix)
	}
	i := slices.IndexFunc(db.Volumes, func(v Volume) bool { return v.Name == name })
	if i < 0 {
		return nil, VLNoEntry
	}
	return &db.Volumes[i], nil
}

func (db *VLDB) byName(a *NameArgs) (*VolumeEntry, error) {
	v, err := db.find(a.Name)
	if err != nil {
		return nil, err
	}
	return db.entry(v), nil
}

func (db *VLDB) byNameU(a *NameArgs) (*VolumeEntryU, error) {
	v, err := db.find(a.Name)
	if err != nil {
		return nil, err
	}
	e := db.entry(v)
	u := &VolumeEntryU{
		Name: e.Name, Sites: e.Sites, Partition: e.Partition, SiteFlags: e.SiteFlags, VolumeID: e.VolumeID, Flags: e.Flags,
	}
	for i, s := range v.Sites {
		server := db.Servers[s.Server]
		u.Server[i], u.Unique[i] = UUIDOf(server.UUID), server.Unique
		u.SiteFlags[i] |= 0x10 // the server is named by its UUID
	}
	return u, nil
}

func (db *VLDB) entry(v *Volume) *VolumeEntry {
	e := &VolumeEntry{Name: chars65(v.Name), Sites: int32(len(v.Sites)), VolumeID: v.ID, Flags: v.Flags}
	for i, s := range v.Sites {
		e.Server[i], e.Partition[i], e.SiteFlags[i] = number(db.Servers[s.Server].Addrs[0]), s.Partition, s.Flags
	}
	if e.Flags == 0 {
		e.Flags = HasReadWrite
	}
	return e
}

func entry8(e *VolumeEntry, err error) (*VolumeEntry8, error) {
	if err != nil {
		return nil, err
	}
	o := &VolumeEntry8{Name: e.Name, Sites: min(e.Sites, 8), VolumeID: e.VolumeID, CloneID: e.CloneID, Flags: e.Flags}
	copy(o.Server[:], e.Server[:])
	copy(o.Partition[:], e.Partition[:])
	copy(o.SiteFlags[:], e.SiteFlags[:])
	return o, nil
}

// list returns the volumes that match, by name in the order of the database.
func (db *VLDB) list(a *Attributes, pattern string) ([]VolumeEntry, error) {
	if a.Mask&MatchVolumeID != 0 && a.Mask&^MatchVolumeID != 0 {
		return nil, VLBadMask
	}
	var name *regexp.Regexp
	if pattern != "" && pattern != ".*" {
		var err error
		if name, err = regexp.Compile(`^(` + pattern + `)$`); err != nil {
			return nil, VLBadMask
		}
	}
	var all []VolumeEntry
	for i := range db.Volumes {
		e := db.entry(&db.Volumes[i])
		if (name == nil || name.MatchString(db.Volumes[i].Name)) && a.match(e) {
			all = append(all, *e)
		}
	}
	return all, nil
}

func (a *Attributes) match(e *VolumeEntry) bool {
	if a.Mask&MatchVolumeID != 0 && !slices.Contains(e.VolumeID[:], a.VolumeID) {
		return false
	}
	if a.Mask&MatchFlag != 0 && e.Flags&a.Flag == 0 {
		return false
	}
	if a.Mask&(MatchServer|MatchPartition) == 0 {
		return true
	}
	for i := range e.Sites { // one site must match both
		if (a.Mask&MatchServer == 0 || e.Server[i] == a.Server) && (a.Mask&MatchPartition == 0 || e.Partition[i] == a.Partition) {
			e.MatchIndex = i
			return true
		}
	}
	return false
}

// addrs lists the servers: of one that has registered its addresses with a UUID
// a mark and the place of its record, as the record has all of them.
func (db *VLDB) addrs() *GetAddrsResult {
	r := &GetAddrsResult{Count: int32(len(db.Servers))}
	for i := range db.Servers {
		r.Addrs = append(r.Addrs, 0xff000000|uint32(i+1))
	}
	return r
}

func (db *VLDB) addrsOf(q *AddrQuery) (*GetAddrsUResult, error) {
	if q.Mask == KnownIndex && (q.Index < 1 || q.Index > 255) { // of the table of servers
		return nil, VLIndexRange
	}
	for i, s := range db.Servers {
		known := false
		switch q.Mask {
		case KnownIndex:
			known = int(q.Index) == i+1
		case KnownUUID:
			known = q.UUID == UUIDOf(s.UUID)
		case KnownAddr:
			known = slices.ContainsFunc(s.Addrs, func(a netip.Addr) bool { return number(a) == q.Addr })
		default:
			return nil, VLBadMask
		}
		if known {
			r := &GetAddrsUResult{UUID: UUIDOf(s.UUID), Unique: s.Unique, Count: int32(len(s.Addrs))}
			for _, a := range s.Addrs {
				r.Addrs = append(r.Addrs, number(a))
			}
			return r, nil
		}
	}
	return nil, VLNoEntry
}
