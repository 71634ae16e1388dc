package afs

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Ids that every PRDB has.
const (
	Administrators = -204
	BackupGroup    = -205
	PTSViewers     = -203
	AnyUser        = -101
	AuthUser       = -102
	Anonymous      = 32766
)

// A PRDB is the data of a PR service: users, groups and who is in which.
type PRDB struct {
	// Admin reports whether the caller may change anything; nil allows everybody.
	Admin func(ctx context.Context) bool

	mu      sync.Mutex // guards what follows
	entries []*PREntry // in the order in which they were made
	members map[int32][]int32
}

// NewPRDB makes one with the entries that every cell has.
func NewPRDB() *PRDB {
	db := &PRDB{members: map[int32][]int32{}}
	for _, e := range []struct {
		id   int32
		name string
	}{
		{Administrators, "system:administrators"},
		{BackupGroup, "system:backup"},
		{AnyUser, "system:anyuser"},
		{AuthUser, "system:authuser"},
		{PTSViewers, "system:ptsviewers"},
		{Anonymous, "anonymous"},
	} {
		entry := &PREntry{ID: e.id, Owner: Administrators, Creator: Administrators, Flags: userFlags, Name: chars64(e.name)}
		if e.id < 0 {
			entry.Flags = groupFlags
		}
		db.entries = append(db.entries, entry)
	}
	return db
}

// Service is the PR service on these data.
func (db *PRDB) Service() *Service {
	s := &Service{ID: PRService}
	handle(s, PRNameToID, locked(db, db.nameToID))
	handle(s, PRIDToName, locked(db, db.idToName))
	handle(s, PRListEntry, locked(db, func(a *Int32) (*PREntry, error) { return db.get(a.Value) }))
	handle(s, PRListEntries, locked(db, db.list))
	handle(s, PRListElements, locked(db, db.elements))
	handle(s, PRGetCPS, locked(db, db.cps))
	handle(s, PRListMax, locked(db, db.max))
	handle(s, PRIsAMemberOf, locked(db, func(a *MemberArgs) (*Int32, error) {
		if slices.Contains(db.members[a.Group], a.User) {
			return &Int32{1}, nil
		}
		return &Int32{0}, nil
	}))
	handle(s, PRNewEntry, changing(db, func(a *NewEntryArgs) (*Int32, error) {
		top, _ := db.max(nil)
		id := top.User + 1
		if a.Flag&GroupFlag != 0 {
			id = top.Group - 1
		}
		return &Int32{id}, db.add(a.Name, id, a.Flag, a.Owner)
	}))
	handle(s, PRNewEntryWithID, changing(db, func(a *NewEntryWithIDArgs) (*None, error) {
		var flag int32
		if a.ID < 0 {
			flag = GroupFlag
		}
		return &None{}, db.add(a.Name, a.ID, flag, a.Owner)
	}))
	handle(s, PRDelete, changing(db, func(a *Int32) (*None, error) { return &None{}, db.remove(a.Value) }))
	handle(s, PRAddToGroup, changing(db, func(a *MemberArgs) (*None, error) { return &None{}, db.join(a.User, a.Group) }))
	handle(s, PRRemoveFromGroup, changing(db, func(a *MemberArgs) (*None, error) { return &None{}, db.leave(a.User, a.Group) }))
	return s
}

func locked[A, R any](db *PRDB, f func(*A) (*R, error)) func(context.Context, *A) (*R, error) {
	return func(_ context.Context, a *A) (*R, error) {
		db.mu.Lock()
		defer db.mu.Unlock()
		return f(a)
	}
}

func changing[A, R any](db *PRDB, f func(*A) (*R, error)) func(context.Context, *A) (*R, error) {
	then := locked(db, f)
	return func(ctx context.Context, a *A) (*R, error) {
		if db.Admin != nil && !db.Admin(ctx) {
			return nil, PRPermission
		}
		return then(ctx, a)
	}
}

func (db *PRDB) get(id int32) (*PREntry, error) {
	for _, e := range db.entries {
		if e.ID == id {
			return e, nil
		}
	}
	return nil, PRNoEntry
}

// nameToID answers with the anonymous user's id for a name that it does not know.
func (db *PRDB) nameToID(a *Names) (*IDs, error) {
	r := &IDs{IDs: make([]int32, 0, len(a.Names))}
	for _, n := range a.Names {
		id := int32(Anonymous)
		for _, e := range db.entries {
			if strings.EqualFold(e.Name.String(), n.String()) {
				id = e.ID
			}
		}
		r.IDs = append(r.IDs, id)
	}
	return r, nil
}

// idToName answers with the number for an id that it does not know.
func (db *PRDB) idToName(a *IDs) (*Names, error) {
	r := &Names{Names: make([]Chars64, 0, len(a.IDs))}
	for _, id := range a.IDs {
		if e, err := db.get(id); err == nil {
			r.Names = append(r.Names, e.Name)
		} else {
			r.Names = append(r.Names, chars64(decimal(id)))
		}
	}
	return r, nil
}

// The flags of an entry, as replies have them, say who may do what with it: these
// are S---- and S-M-- of pts examine.
const (
	userFlags  = 0x80
	groupFlags = 0x90
)

const entriesPerReply = 100

func (db *PRDB) list(a *ListEntriesArgs) (*ListEntriesResult, error) {
	r := &ListEntriesResult{Next: -1}
	for i := max(int(a.Start), 0); i < len(db.entries); i++ {
		e := db.entries[i]
		want := int32(ListUsers)
		if e.ID < 0 {
			want = ListGroups
		}
		if a.Flags&want == 0 {
			continue
		}
		if len(r.Entries) == entriesPerReply {
			r.Next = int32(i)
			break
		}
		r.Entries = append(r.Entries, *e)
	}
	return r, nil
}

// elements are the members of a group, or the groups of a user.
func (db *PRDB) elements(a *Int32) (*Elements, error) {
	if _, err := db.get(a.Value); err != nil {
		return nil, err
	}
	if a.Value < 0 {
		return &Elements{IDs: slices.Clone(db.members[a.Value])}, nil
	}
	r := &Elements{}
	for group, ids := range db.members {
		if slices.Contains(ids, a.Value) {
			r.IDs = append(r.IDs, group)
		}
	}
	slices.Sort(r.IDs)
	return r, nil
}

// cps is everything that an access list may name for a user.
func (db *PRDB) cps(a *Int32) (*Elements, error) {
	r, err := db.elements(a)
	if err != nil {
		return nil, err
	}
	r.IDs = append(r.IDs, a.Value, AnyUser)
	if a.Value != Anonymous {
		r.IDs = append(r.IDs, AuthUser)
	}
	slices.Sort(r.IDs)
	return r, nil
}

// max is the highest id of a user, and the lowest of a group, that was given.
func (db *PRDB) max(*None) (*ListMaxReply, error) {
	r := &ListMaxReply{Group: BackupGroup}
	for _, e := range db.entries {
		if e.ID != Anonymous {
			r.User = max(r.User, e.ID)
		}
		r.Group = min(r.Group, e.ID)
	}
	return r, nil
}

func (db *PRDB) add(name string, id, flag, owner int32) error {
	if name == "" || len(name) > 63 || strings.ContainsAny(name, "\n\x00") {
		return PRBadName
	}
	if _, err := db.get(id); err == nil {
		return PRIDExists
	}
	for _, e := range db.entries {
		if strings.EqualFold(e.Name.String(), name) {
			return PRExists
		}
	}
	if owner == 0 {
		owner = Administrators
	}
	e := &PREntry{ID: id, Flags: userFlags, Owner: owner, Creator: Anonymous, Groups: 20, Users: 20, Name: chars64(name)}
	if flag&GroupFlag != 0 {
		e.Flags, e.Groups, e.Users = groupFlags, 0, 0
	}
	db.entries = append(db.entries, e)
	return nil
}

func (db *PRDB) remove(id int32) error {
	if _, err := db.get(id); err != nil {
		return err
	}
	db.entries = slices.DeleteFunc(db.entries, func(e *PREntry) bool { return e.ID == id })
	delete(db.members, id)
	for group, ids := range db.members {
		db.members[group] = slices.DeleteFunc(ids, func(m int32) bool { return m == id })
	}
	return nil
}

func (db *PRDB) join(user, group int32) error {
	u, err := db.get(user)
	if err != nil {
		return err
	}
	g, err := db.get(group)
	if err != nil {
		return err
	}
	if user < 0 || group >= 0 {
		return PRNoEntry
	}
	if slices.Contains(db.members[group], user) {
		return PRIDExists
	}
	db.members[group] = append(db.members[group], user)
	u.Count++
	g.Count++
	return nil
}

func (db *PRDB) leave(user, group int32) error {
	i := slices.Index(db.members[group], user)
	if i < 0 {
		return PRNoEntry
	}
	db.members[group] = slices.Delete(db.members[group], i, i+1)
	for _, id := range []int32{user, group} {
		if e, err := db.get(id); err == nil {
			e.Count--
		}
	}
	return nil
}
