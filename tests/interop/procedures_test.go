//go:build linux

package interop

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// ask makes a call of a real server through OpenAFS's library.
func ask(t *testing.T, addr netip.AddrPort, service, number int, args any) ([]byte, afs.Code) {
	t.Helper()
	request, err := afs.Request(uint32(number), args)
	require.NoError(t, err)
	c := rig.PeerClient(t, addr, "-service", decimal(service), "raw", hex.EncodeToString(request))
	return c.Reply, afs.Code(c.Code)
}

// TestProceduresAnswerAsOpenAFSDoes sends OpenAFS's servers and ours the same
// requests, on the same data, and wants the same bytes for an answer.
func TestProceduresAnswerAsOpenAFSDoes(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{FileServer: true})
	addr := cell.Addr.String()
	for _, args := range [][]string{
		{"vos", "create", addr, "a", "vol1", "-noauth"},
		{"vos", "create", addr, "a", "vol2", "-noauth"},
		{"vos", "addsite", addr, "a", "vol1", "-noauth"},
		{"pts", "createuser", "joe", "-noauth"},
		{"pts", "creategroup", "group1", "-owner", "system:administrators", "-noauth"},
		{"pts", "adduser", "joe", "group1", "-noauth"},
	} {
		cell.Must(t, args[0], args[1:]...)
	}
	vl, pr := cell.AddrPort(openafs.VLPort), cell.AddrPort(openafs.PTPort)

	// What OpenAFS gave out by chance is learnt from its answers.
	reply, _ := ask(t, vl, afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownIndex, Index: 1})
	server, err := afs.Reply[afs.GetAddrsUResult](reply)
	require.NoError(t, err)
	require.Equal(t, cell.Addr, afs.Addr(server.Addrs[0]))
	reply, code := ask(t, vl, afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{})
	require.Zero(t, code)
	list, err := afs.Reply[afs.ListN2Result](reply)
	require.NoError(t, err)
	require.EqualValues(t, 2, list.Count)

	db := &afs.VLDB{Servers: []afs.Server{{UUID: server.UUID.Bytes(), Unique: server.Unique, Addrs: []netip.Addr{cell.Addr}}}}
	for _, e := range list.Entries {
		v := afs.Volume{Name: e.Name.String(), ID: e.VolumeID, Flags: e.Flags}
		for i := range e.Sites {
			v.Sites = append(v.Sites, afs.Site{Partition: e.Partition[i], Flags: e.SiteFlags[i]})
		}
		db.Volumes = append(db.Volumes, v)
	}
	name := func(s string) (c afs.Chars64) {
		for i := range s {
			c[i] = int32(s[i])
		}
		return c
	}
	reply, _ = ask(t, pr, afs.PRService, afs.PRNameToID, afs.Names{Names: []afs.Chars64{name("joe"), name("group1")}})
	ids, err := afs.Reply[afs.IDs](reply)
	require.NoError(t, err)
	require.Len(t, ids.IDs, 2)
	joe, group := ids.IDs[0], ids.IDs[1]
	t.Logf("joe is %d, group1 %d", joe, group)
	users := afs.NewPRDB()
	ours := map[int]*afs.Service{afs.VLService: db.Service(), afs.PRService: users.Service()}
	for _, r := range []struct {
		number int
		args   any
	}{
		{afs.PRNewEntry, afs.NewEntryArgs{Name: "joe"}},
		{afs.PRNewEntry, afs.NewEntryArgs{Name: "group1", Flag: afs.GroupFlag, Owner: afs.Administrators}},
		{afs.PRAddToGroup, afs.MemberArgs{User: joe, Group: group}},
	} {
		request, err := afs.Request(uint32(r.number), r.args)
		require.NoError(t, err)
		_, err = ours[afs.PRService].Answer(t.Context(), request)
		require.NoError(t, err)
	}

	for _, r := range []struct {
		name    string
		service int
		number  int
		args    any
	}{
		{"probe", afs.VLService, afs.VLProbeServer, afs.None{}},
		{"by name", afs.VLService, afs.VLGetEntryByName, afs.NameArgs{Name: "vol1"}},
		{"by name, N", afs.VLService, afs.VLGetEntryByNameN, afs.NameArgs{Name: "vol2"}},
		{"by name, of the copy", afs.VLService, afs.VLGetEntryByNameN, afs.NameArgs{Name: "vol1.readonly"}},
		{"by name, U", afs.VLService, afs.VLGetEntryByNameU, afs.NameArgs{Name: "vol1"}},
		{"by id", afs.VLService, afs.VLGetEntryByID, afs.IDArgs{ID: list.Entries[0].VolumeID[0]}},
		{"by id, N", afs.VLService, afs.VLGetEntryByIDN, afs.IDArgs{ID: list.Entries[1].VolumeID[0]}},
		{"unknown name", afs.VLService, afs.VLGetEntryByNameN, afs.NameArgs{Name: "vol3"}},
		{"unknown id", afs.VLService, afs.VLGetEntryByIDN, afs.IDArgs{ID: 4711}},
		{"list", afs.VLService, afs.VLListAttributes, afs.Attributes{}},
		{"list, N", afs.VLService, afs.VLListAttributesN, afs.Attributes{}},
		{"list, N2", afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{}},
		{"list of a pattern", afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{Name: "vol2"}},
		{"list of a volume", afs.VLService, afs.VLListAttributesN, afs.Attributes{Mask: afs.MatchVolumeID, VolumeID: list.Entries[0].VolumeID[0]}},
		{"list of a server", afs.VLService, afs.VLListAttributesN, afs.Attributes{Mask: afs.MatchServer, Server: server.Addrs[0]}},
		{"list of a partition", afs.VLService, afs.VLListAttributesN, afs.Attributes{Mask: afs.MatchServer | afs.MatchPartition, Server: server.Addrs[0]}},
		{"list of a server, N2", afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{
			Attributes: afs.Attributes{Mask: afs.MatchServer, Server: server.Addrs[0]},
		}},
		{"servers", afs.VLService, afs.VLGetAddrs, afs.GetAddrsArgs{}},
		{"server by index", afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownIndex, Index: 1}},
		{"server by address", afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownAddr, Addr: server.Addrs[0]}},
		{"server by uuid", afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownUUID, UUID: server.UUID}},
		{"no server by index", afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownIndex, Index: 2}},
		{"no server by address", afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownAddr, Addr: 1}},
		{"unknown procedure", afs.VLService, 65535, afs.None{}},
		{"names", afs.PRService, afs.PRNameToID, afs.Names{Names: []afs.Chars64{name("joe"), name("group1"), name("nobody here")}}},
		{"ids", afs.PRService, afs.PRIDToName, afs.IDs{IDs: []int32{joe, group, 32766, -204}}},
		{"members", afs.PRService, afs.PRListElements, afs.Int32{Value: group}},
		{"groups", afs.PRService, afs.PRListElements, afs.Int32{Value: joe}},
		{"member or not", afs.PRService, afs.PRIsAMemberOf, afs.MemberArgs{User: joe, Group: group}},
		{"highest ids", afs.PRService, afs.PRListMax, afs.None{}},
		{"user", afs.PRService, afs.PRListEntry, afs.Int32{Value: joe}},
		{"group", afs.PRService, afs.PRListEntry, afs.Int32{Value: group}},
		{"no user", afs.PRService, afs.PRListEntry, afs.Int32{Value: 4711}},
	} {
		t.Run(r.name, func(t *testing.T) {
			addr := vl
			if r.service == afs.PRService {
				addr = pr
			}
			want, code := ask(t, addr, r.service, r.number, r.args)
			request, err := afs.Request(uint32(r.number), r.args)
			require.NoError(t, err)
			got, err := ours[r.service].Answer(t.Context(), request)
			if code != 0 {
				assert.Equal(t, code, err)
				return
			}
			require.NoError(t, err)
			if !bytes.Equal(want, got) {
				assert.Equal(t, hex.Dump(want), hex.Dump(got))
			}
		})
	}
}
