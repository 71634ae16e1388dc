package connector_test

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func ExampleMessage_AppendNetlink() {
	m := connector.Message{ID: cbid.Make(0x123, 0x456), Seq: 1, Data: []byte("hi")}
	b, err := m.AppendNetlink(nil, binary.LittleEndian, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%x\n", b[:connector.NlmsgHdrLen])
	fmt.Printf("%x\n", b[connector.NlmsgHdrLen:])

	_, back, _, err := connector.ParseNetlink(b, binary.LittleEndian)
	fmt.Println(back.ID, back.Seq, string(back.Data), err)
	// Output:
	// 26000000030000000100000000000000
	// 23010000560400000100000000000000020000006869
	// 291:1110 1 hi <nil>
}

// A datagram may hold several frames; one that is no message does not hide the
// others.
func ExampleMessages() {
	var datagram []byte
	for seq := range uint32(2) {
		datagram, _ = connector.Message{ID: cbid.Proc, Seq: seq}.AppendNetlink(datagram, binary.BigEndian, 0)
	}
	datagram[5] = 2 // the first becomes an NLMSG_ERROR
	for m, err := range connector.Messages(datagram, binary.BigEndian) {
		fmt.Println(m.ID, m.Seq, err)
	}
	// Output:
	// 0:0 0 connector parse: nlmsg_type 2 (NLMSG_ERROR) instead of NLMSG_DONE: protocol violation
	// 1:1 1 <nil>
}

func ExampleRegistry() {
	ctx := context.Background()
	r := connector.NewRegistry(ctx, nil)
	id := cbid.Make(0x123, 0x456)
	hello := connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		fmt.Println(d.Msg.ID, string(d.Msg.Data))
	})
	e, err := r.Add(connector.IDInfo{ID: id, Name: "cn_test"}, hello)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = r.Add(connector.IDInfo{ID: id}, hello)
	fmt.Println(err)

	d := connector.Delivery{Msg: connector.Message{ID: id, Data: []byte("counter = 0")}}
	fmt.Println(r.Dispatch(ctx, &d, connector.FullDefault))

	fmt.Println(r.Del(ctx, e)) // from here on the callback does not run
	fmt.Println(r.Dispatch(ctx, &d, connector.FullDefault))
	// Output:
	// connector add callback 291:1110: id is already registered
	// 291:1110 counter = 0
	// <nil>
	// <nil>
	// connector send 291:1110: no such id
}

func ExampleGenealogy() {
	g := connector.NewGenealogy(nil)
	call, err := g.Begin(cbid.Proc, 0, "who waits for it")
	if err != nil {
		fmt.Println(err)
		return
	}
	reply := connector.Message{ID: call.ID, Seq: call.Seq, Ack: call.Ack + 1}
	class, ended := g.Match(&reply, &connector.From{Port: 7})
	fmt.Println(class, ended.Tag)
	class, _ = g.Match(&reply, &connector.From{Port: 7})
	fmt.Println(class)
	// Output:
	// reply who waits for it
	// duplicate
}

func ExampleNotify() {
	n := connector.NewNotify(nil)
	const me = 1 // the owner: whatever tells the carrier's connections apart
	err := n.Request(me, connector.Ctl{
		Group: 1,
		Idx:   []connector.NotifyReq{{First: 0x123, Range: 10}},
		Val:   []connector.NotifyReq{{First: 0x456, Range: 10}, {First: 0x46a, Range: 10}},
	})
	fmt.Println(err)

	id := cbid.Make(0x123, 0x46a) // somebody registers it
	for group := range n.Fire(id) {
		m := connector.NotifyMessage(id, false)
		fmt.Println("to group", group, m.ID, m.Seq, m.Ack, len(m.Data))
	}
	fmt.Println(n.DropOwner(me))
	// Output:
	// <nil>
	// to group 1 291:1130 0 0 0
	// 1
}

func ExampleWatchTable() {
	t := connector.NewWatchTable(0)
	t.IDAdded(connector.IDInfo{ID: cbid.Proc, Name: "cn_proc"})
	const w = 1
	if err := t.Add(w, nil); err != nil {
		fmt.Println(err)
		return
	}
	t.IDAdded(connector.IDInfo{ID: cbid.Make(0x123, 0x456), Name: "cn_test"})
	t.IDRemoved(cbid.Proc)
	for {
		c, ok := t.Next(w)
		if !ok {
			break
		}
		fmt.Printf("%v %v %q\n", c.Kind, c.Info.ID, c.Info.Name)
		if c.Kind == connector.ChangeMarker {
			t.IDAdded(connector.IDInfo{ID: cbid.Proc, Name: "cn_proc"})
		}
	}
	// Output:
	// present 291:1110 "cn_test"
	// marker 0:0 ""
	// added 1:1 "cn_proc"
}
