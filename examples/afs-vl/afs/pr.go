package afs

// Procedures of the PR service.
const (
	PRNewEntryWithID  = 500 // PR_INewEntry
	PRWhereIsIt       = 501
	PRAddToGroup      = 503
	PRNameToID        = 504
	PRIDToName        = 505
	PRDelete          = 506
	PRRemoveFromGroup = 507
	PRGetCPS          = 508
	PRNewEntry        = 509
	PRListMax         = 510
	PRListEntry       = 512
	PRListElements    = 514
	PRIsAMemberOf     = 515
	PRListEntries     = 521
)

// GroupFlag asks PRNewEntry for a group; its id is negative.
const GroupFlag = 2

// What ListEntries lists.
const (
	ListUsers  = 1
	ListGroups = 2
)

// A PREntry is a user or a group: prcheckentry and prlistentries.
type PREntry struct {
	Flags    int32
	ID       int32
	Owner    int32
	Creator  int32
	Groups   int32 // it may make
	Users    int32
	Count    int32 // of members, or of groups it is in
	Reserved [5]int32
	Name     Chars64
}

// Arguments and results of the procedures.
type (
	NewEntryArgs struct {
		Name  string
		Flag  int32
		Owner int32
	}
	NewEntryWithIDArgs struct {
		Name  string
		ID    int32
		Owner int32
	}
	MemberArgs   struct{ User, Group int32 }
	Names        struct{ Names []Chars64 }
	IDs          struct{ IDs []int32 }
	ListMaxReply struct{ User, Group int32 }
	Elements     struct {
		IDs  []int32
		Over int32 // there were more
	}
	ListEntriesArgs   struct{ Flags, Start int32 }
	ListEntriesResult struct {
		Entries []PREntry
		Next    int32 // -1 at the end
	}
)
