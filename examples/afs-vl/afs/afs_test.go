package afs

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	require.NoError(t, err)
	return b
}

// call makes a call of a service, from arguments to results.
func call[R any](t *testing.T, s *Service, number uint32, args any) (R, error) {
	t.Helper()
	var r R
	request, err := Request(number, args)
	require.NoError(t, err)
	reply, err := s.Answer(t.Context(), request)
	if err != nil {
		return r, err
	}
	r, err = Reply[R](reply)
	require.NoError(t, err)
	return r, nil
}

func must[R any](t *testing.T, s *Service, number uint32, args any) R {
	t.Helper()
	r, err := call[R](t, s, number, args)
	require.NoError(t, err)
	return r
}

func testVLDB() *VLDB {
	return &VLDB{
		Servers: []Server{{
			UUID: [16]byte{0x00, 0x13, 0x58, 0x94, 0xe6, 0x54, 0x1b, 0x00, 0x82, 0x1b, 0x01, 0x00, 0x00, 0x7f, 0xaa, 0x77}, Unique: 1,
			Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.1.0.1")},
		}},
		Volumes: []Volume{
			{Name: "root.afs", ID: [3]uint32{536870912, 536870913, 0}, Flags: HasReadWrite | HasReadOnly, Sites: []Site{{0, 0, SiteReadWrite}, {0, 1, SiteReadOnly}}},
			{Name: "home", ID: [3]uint32{536870915, 0, 536870917}, Flags: HasReadWrite | HasBackup, Sites: []Site{{0, 1, SiteReadWrite}}},
		},
	}
}

// TestCaptured holds requests and replies against what went between vos, pts and
// bos of OpenAFS 1.8.9 and its servers (tests/interop/testdata/pcap).
func TestCaptured(t *testing.T) {
	vl, empty := testVLDB().Service(), (&VLDB{}).Service()
	boz := (&BOZO{Processes: []Process{{Name: "vlserver", Status: ProcessStatus{Goal: 1, FileGoal: 1, Started: 0x6b00e64f, Starts: 1}}}}).Service()
	for _, c := range []struct {
		name    string
		s       *Service
		number  uint32
		args    any
		request string
		reply   string
		code    Code
	}{
		{
			name: "vos listvldb", s: empty, number: VLListAttributesN2, args: ListN2Args{},
			request: "00000216" + strings.Repeat("00000000", 8), reply: "00000000 00000000 ffffffff",
		},
		{
			name: "vos listaddrs", s: vl, number: VLGetAddrs, args: GetAddrsArgs{},
			request: "00000203 00000000 00000000", reply: strings.Repeat("00000000", 4) + "00000001 00000001 ff000001",
		},
		{
			name: "vos listaddrs, the addresses", s: vl, number: VLGetAddrsU, args: AddrQuery{Mask: KnownIndex, Index: 1},
			request: "00000215 00000002 00000000 00000001" + strings.Repeat("00000000", 12),
			reply: `00135894 0000e654 00001b00 ffffff82 0000001b 00000001 00000000 00000000 0000007f ffffffaa 00000077
				00000001 00000002 00000002 7f000001 7f010001`,
		},
		{
			name: "bos status, a name", s: boz, number: BOZOEnumerateInstance, args: Int32{0},
			request: "00000054 00000000", reply: "00000008 766c736572766572",
		},
		{
			name: "bos status, no more names", s: boz, number: BOZOEnumerateInstance, args: Int32{3},
			request: "00000054 00000003", code: BZDomain,
		},
		{
			name: "bos status, a process", s: boz, number: BOZOGetInstanceInfo, args: String{"vlserver"},
			request: "00000055 00000008 766c736572766572",
			reply:   "00000006 73696d706c650000 00000001 00000001 6b00e64f 00000001" + strings.Repeat("00000000", 13),
		},
		{
			name: "pts createuser", s: NewPRDB().Service(), number: PRNewEntry, args: NewEntryArgs{Name: "capuser"},
			request: "000001fd 00000007 63617075736572 00 00000000 00000000", reply: "00000001",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			request, err := Request(c.number, c.args)
			require.NoError(t, err)
			assert.Equal(t, unhex(t, c.request), request)
			reply, err := c.s.Answer(t.Context(), unhex(t, c.request))
			if c.code != 0 {
				assert.Equal(t, c.code, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, unhex(t, c.reply), reply)
		})
	}
}

func TestVolumesAreFound(t *testing.T) {
	s := testVLDB().Service()
	e := must[VolumeEntry](t, s, VLGetEntryByNameN, NameArgs{"root.afs.readonly"})
	assert.Equal(t, "root.afs", e.Name.String())
	assert.EqualValues(t, 2, e.Sites)
	assert.Equal(t, "127.0.0.1", Addr(e.Server[1]).String())
	assert.EqualValues(t, HasReadWrite|HasReadOnly, e.Flags)
	assert.Equal(t, e, must[VolumeEntry](t, s, VLGetEntryByIDN, IDArgs{ID: 536870913, Type: ReadOnly}))
	old := must[VolumeEntry8](t, s, VLGetEntryByName, NameArgs{"home"})
	assert.Equal(t, old, must[VolumeEntry8](t, s, VLGetEntryByID, IDArgs{ID: 536870917, Type: Backup}))
	assert.Equal(t, "home", old.Name.String())
	u := must[VolumeEntryU](t, s, VLGetEntryByNameU, NameArgs{"home"})
	assert.Equal(t, UUIDOf(testVLDB().Servers[0].UUID), u.Server[0])
	_, err := call[VolumeEntry](t, s, VLGetEntryByNameN, NameArgs{"nothing"})
	assert.Equal(t, VLNoEntry, err)
	_, err = call[VolumeEntry](t, s, VLGetEntryByIDN, IDArgs{})
	assert.Equal(t, VLNoEntry, err)
}

func TestVolumesAreListed(t *testing.T) {
	db := testVLDB()
	s := db.Service()
	names := func(a Attributes, pattern string) (all []string) {
		for _, e := range must[ListN2Result](t, s, VLListAttributesN2, ListN2Args{Attributes: a, Name: pattern}).Entries {
			all = append(all, e.Name.String())
		}
		return all
	}
	assert.Equal(t, []string{"root.afs", "home"}, names(Attributes{}, ""))
	assert.Equal(t, []string{"home"}, names(Attributes{}, "h.*"))
	assert.Equal(t, []string{"root.afs"}, names(Attributes{Mask: MatchVolumeID, VolumeID: 536870913}, ""))
	assert.Equal(t, []string{"root.afs"}, names(Attributes{Mask: MatchPartition, Partition: 0}, ""))
	assert.Equal(t, []string{"home"}, names(Attributes{Mask: MatchFlag, Flag: HasBackup}, ""))
	assert.Empty(t, names(Attributes{Mask: MatchServer, Server: 1}, ""))
	e := must[ListNResult](t, s, VLListAttributesN, Attributes{Mask: MatchServer | MatchPartition, Server: 0x7f000001, Partition: 1}).Entries
	require.Len(t, e, 2)
	assert.EqualValues(t, 1, e[0].MatchIndex)
	assert.EqualValues(t, 2, must[ListResult](t, s, VLListAttributes, Attributes{}).Count)
	_, err := call[ListN2Result](t, s, VLListAttributesN2, ListN2Args{Name: "("})
	assert.Equal(t, VLBadMask, err)

	// Many come in pieces.
	for len(db.Volumes) < 2*pageSize+1 {
		db.Volumes = append(db.Volumes, Volume{Name: "v" + decimal(int32(len(db.Volumes)))})
	}
	seen, start := 0, int32(0)
	for start >= 0 {
		r := must[ListN2Result](t, s, VLListAttributesN2, ListN2Args{Start: start})
		seen += len(r.Entries)
		start = r.Next
	}
	assert.Equal(t, len(db.Volumes), seen)
}

func TestServersAreFound(t *testing.T) {
	s := testVLDB().Service()
	uuid := UUIDOf(testVLDB().Servers[0].UUID)
	for _, q := range []AddrQuery{{Mask: KnownIndex, Index: 1}, {Mask: KnownAddr, Addr: 0x7f010001}, {Mask: KnownUUID, UUID: uuid}} {
		assert.Len(t, must[GetAddrsUResult](t, s, VLGetAddrsU, q).Addrs, 2)
	}
	for q, code := range map[AddrQuery]Code{
		{Mask: KnownIndex, Index: 2}: VLNoEntry, {Mask: KnownIndex, Index: 256}: VLIndexRange, {Mask: 3}: VLBadMask, {Mask: KnownAddr}: VLNoEntry,
	} {
		_, err := call[GetAddrsUResult](t, s, VLGetAddrsU, q)
		assert.Equal(t, code, err, "%+v", q)
	}
}

func TestOnlyAnAdminGetsVolumeIDs(t *testing.T) {
	db := testVLDB()
	_, err := call[Uint32](t, db.Service(), VLGetNewVolumeID, Uint32{1})
	assert.Equal(t, VLPermission, err)
	db.Admin = func(context.Context) bool { return true }
	s := db.Service()
	assert.EqualValues(t, 536870918, must[Uint32](t, s, VLGetNewVolumeID, Uint32{3}).Value)
	assert.EqualValues(t, 536870921, must[Uint32](t, s, VLGetNewVolumeID, Uint32{1}).Value)
}

func TestUsersAndGroups(t *testing.T) {
	db := NewPRDB()
	s := db.Service()
	u := must[Int32](t, s, PRNewEntry, NewEntryArgs{Name: "u"}).Value
	g := must[Int32](t, s, PRNewEntry, NewEntryArgs{Name: "g", Flag: GroupFlag}).Value
	assert.Positive(t, u)
	assert.Negative(t, g)
	must[None](t, s, PRNewEntryWithID, NewEntryWithIDArgs{Name: "seven", ID: 7})
	_, err := call[Int32](t, s, PRNewEntry, NewEntryArgs{Name: "U"})
	assert.Equal(t, PRExists, err)
	_, err = call[None](t, s, PRNewEntryWithID, NewEntryWithIDArgs{Name: "x", ID: 7})
	assert.Equal(t, PRIDExists, err)
	_, err = call[Int32](t, s, PRNewEntry, NewEntryArgs{Name: strings.Repeat("x", 64)})
	assert.Equal(t, PRBadName, err)

	ids := must[IDs](t, s, PRNameToID, Names{[]Chars64{chars64("u"), chars64("nobody here")}}).IDs
	assert.Equal(t, []int32{u, Anonymous}, ids)
	names := must[Names](t, s, PRIDToName, IDs{[]int32{g, 4711}}).Names
	assert.Equal(t, "g", names[0].String())
	assert.Equal(t, "4711", names[1].String())

	must[None](t, s, PRAddToGroup, MemberArgs{u, g})
	_, err = call[None](t, s, PRAddToGroup, MemberArgs{u, g})
	assert.Equal(t, PRIDExists, err)
	assert.EqualValues(t, 1, must[Int32](t, s, PRIsAMemberOf, MemberArgs{u, g}).Value)
	assert.Equal(t, []int32{u}, must[Elements](t, s, PRListElements, Int32{g}).IDs)
	assert.Equal(t, []int32{g}, must[Elements](t, s, PRListElements, Int32{u}).IDs)
	assert.Equal(t, []int32{g, AuthUser, AnyUser, u}, must[Elements](t, s, PRGetCPS, Int32{u}).IDs)
	assert.EqualValues(t, 1, must[PREntry](t, s, PRListEntry, Int32{g}).Count)
	must[None](t, s, PRRemoveFromGroup, MemberArgs{u, g})
	assert.Empty(t, must[Elements](t, s, PRListElements, Int32{g}).IDs)
	_, err = call[None](t, s, PRRemoveFromGroup, MemberArgs{u, g})
	assert.Equal(t, PRNoEntry, err)

	assert.Equal(t, ListMaxReply{7, g}, must[ListMaxReply](t, s, PRListMax, None{}))
	assert.Len(t, must[ListEntriesResult](t, s, PRListEntries, ListEntriesArgs{Flags: ListUsers}).Entries, 3)
	assert.Len(t, must[ListEntriesResult](t, s, PRListEntries, ListEntriesArgs{Flags: ListUsers | ListGroups}).Entries, 9)
	must[None](t, s, PRDelete, Int32{u})
	_, err = call[PREntry](t, s, PRListEntry, Int32{u})
	assert.Equal(t, PRNoEntry, err)

	db.Admin = func(context.Context) bool { return false }
	_, err = call[Int32](t, s, PRNewEntry, NewEntryArgs{Name: "v"})
	assert.Equal(t, PRPermission, err)
}

func TestFilesOfBOZO(t *testing.T) {
	b := &BOZO{Cell: "rig.test"}
	s := b.Service()
	assert.Equal(t, "rig.test", must[String](t, s, BOZOGetCellName, None{}).Value)
	request, err := Request(BOZOInstall, InstallArgs{Path: "/x", Size: 5})
	require.NoError(t, err)
	_, err = s.Answer(t.Context(), append(request, "hello"...))
	require.NoError(t, err)
	_, err = s.Answer(t.Context(), append(request, "hell"...))
	assert.Equal(t, ServerFailed, err)
	request, err = Request(BOZOGetLog, String{"/x"})
	require.NoError(t, err)
	reply, err := s.Answer(t.Context(), request)
	require.NoError(t, err)
	assert.Equal(t, "hello\x00", string(reply))
	_, err = call[None](t, s, BOZOGetLog, String{"/y"})
	assert.Equal(t, BZNoEntry, err)
	_, err = call[StatusResult](t, s, BOZOGetStatus, String{"none"})
	assert.Equal(t, BZNoEntry, err)
	b.Admin = func(context.Context) bool { return false }
	_, err = call[None](t, s, BOZOGetLog, String{"/x"})
	assert.Equal(t, BZAccess, err)
}

func TestTheOnlySiteIsTheSyncSite(t *testing.T) {
	v := &Vote{Addr: netip.MustParseAddr("10.99.0.1"), Start: time.Unix(1000, 0), Now: func() time.Time { return time.Unix(2000, 0) }}
	s := v.Service()
	d := must[VoteXDebug](t, s, VOTEXDebug, None{})
	assert.EqualValues(t, Recovered, d.RecoveryState)
	assert.EqualValues(t, 1, d.AmSyncSite)
	assert.Equal(t, v.Addr, Addr(d.Interfaces[0]))
	assert.Equal(t, d.VoteDebug, must[VoteDebug](t, s, VOTEDebug, None{}))
	assert.Equal(t, d.VoteState, must[VoteState](t, s, VOTEDebugOld, None{}))
	assert.Equal(t, v.Addr, Addr(must[Uint32](t, s, VOTEGetSyncSite, None{}).Value))
}

func services() []*Service {
	vl := testVLDB()
	vl.Admin = func(context.Context) bool { return true }
	return []*Service{
		vl.Service(), NewPRDB().Service(), (&BOZO{Processes: []Process{{Name: "p"}}}).Service(), (&Vote{Addr: netip.MustParseAddr("10.99.0.1")}).Service(),
	}
}

func TestUnknownAndCutOffRequests(t *testing.T) {
	for _, s := range services() {
		for _, c := range []struct {
			request string
			code    Code
		}{{"", UnmarshalFailed}, {"000002", UnmarshalFailed}, {"0000ffff", NoProcedure}} {
			_, err := s.Answer(t.Context(), unhex(t, c.request))
			assert.Equal(t, c.code, err)
		}
	}
	request, err := Request(VLGetEntryByNameN, NameArgs{"root.afs"})
	require.NoError(t, err)
	for i := 4; i < len(request); i++ {
		_, err := services()[0].Answer(t.Context(), request[:i])
		assert.Equal(t, UnmarshalFailed, err, i)
	}
}

// OPENAFS-SA-2018-003 (CVE-2018-16949), SA-2024-003: a length in a request is believed, and memory got for it, before
// anybody has proven himself. Here nothing is longer than what came.
func TestAdvisorySA2018003LengthsAreNotBelieved(t *testing.T) {
	for _, r := range []struct {
		number uint32
		args   any
	}{
		{VLListAttributesN2, ListN2Args{Name: "r.*"}},
		{VLGetEntryByNameU, NameArgs{"root.afs"}},
		{PRNameToID, Names{[]Chars64{chars64("u"), chars64("v")}}},
		{PRIDToName, IDs{[]int32{1, -204, 7}}},
		{PRNewEntry, NewEntryArgs{Name: "u"}},
		{BOZOInstall, InstallArgs{Path: "/x"}},
		{BOZOGetInstanceInfo, String{"p"}},
	} {
		request, err := Request(r.number, r.args)
		require.NoError(t, err)
		for at := 4; at+4 <= len(request); at += 4 {
			for _, n := range []uint32{uint32(len(request)), 1 << 16, 1 << 28, 1<<31 - 1, 1<<32 - 1} {
				b := bytes.Clone(request)
				binary.BigEndian.PutUint32(b[at:], n)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for _, s := range services() {
					_, _ = s.Answer(t.Context(), b)
				}
				runtime.ReadMemStats(&after)
				assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "procedure %d, %d at %d", r.number, n, at)
			}
		}
	}
}

// FuzzAnswer sends services anything: they answer, or say a Code.
func FuzzAnswer(f *testing.F) {
	for _, r := range []struct {
		number uint32
		args   any
	}{
		{VLListAttributesN2, ListN2Args{Name: "r.*"}},
		{VLGetEntryByNameU, NameArgs{"home"}},
		{VLGetAddrsU, AddrQuery{Mask: KnownIndex, Index: 1}},
		{PRNameToID, Names{[]Chars64{chars64("u")}}},
		{PRNewEntry, NewEntryArgs{Name: "u"}},
		{PRIDToName, IDs{[]int32{1, -204}}},
		{BOZOInstall, InstallArgs{Path: "/x"}},
		{BOZOGetInstanceInfo, String{"p"}},
		{VOTEXDebug, None{}},
	} {
		b, err := Request(r.number, r.args)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		for _, s := range services() {
			reply, err := s.Answer(t.Context(), request)
			if err != nil {
				assert.IsType(t, Code(0), err)
				assert.Nil(t, reply)
			}
			assert.Less(t, len(reply), 1<<16+2*len(request)*64)
		}
	})
}
