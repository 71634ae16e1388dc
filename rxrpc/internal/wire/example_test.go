package wire_test

import (
	"fmt"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A call of four bytes, and what a server that has no such service says to it.
func Example() {
	call := wire.Header{
		Epoch: 0x8badf00d, CID: 0x12345678, Call: 1, Seq: 1, Serial: 1, Type: wire.TypeData,
		Flags: wire.ClientInitiated | wire.LastPacket, Service: 147,
	}
	b := append(call.Append(nil), "ping"...)
	fmt.Printf("%s\n", wire.AppendText(nil, b))

	h, _, s := wire.Screen(b)
	if s.Verdict == wire.Accept {
		fmt.Printf("%s\n", wire.AppendText(nil, wire.AppendReject(nil, &h, wire.InvalidOperation)))
	}
	// Output:
	// DATA 8badf00d/12345678.0 call 1 seq 1 serial 1 CLIENT|LAST none service 147: 4 bytes
	// ABORT 8badf00d/12345678.0 call 1 serial 0 0 none service 147: -2 (RX_INVALID_OPERATION)
}

// Two packets of a call in one datagram, and apart again.
func ExampleJoiner() {
	h := wire.Header{Call: 1, Seq: 1, Serial: 7, Type: wire.TypeData, Flags: wire.ClientInitiated, Service: 147}
	var j wire.Joiner
	j.Reset(nil)
	if err := j.Add(h, make([]byte, wire.JumboData)); err != nil {
		fmt.Println(err)
	}
	h.Seq, h.Serial, h.Flags = 2, 8, h.Flags|wire.LastPacket
	if err := j.Add(h, []byte("end")); err != nil {
		fmt.Println(err)
	}

	first, body, _ := wire.ParseHeader(j.Bytes())
	parts, err := wire.SplitData(first, body)
	if err != nil {
		fmt.Println(err)
	}
	for h, body, ok := parts.Next(); ok; h, body, ok = parts.Next() {
		fmt.Println("seq", h.Seq, "serial", h.Serial, h.Flags, len(body))
	}
	// Output:
	// seq 1 serial 7 CLIENT|JUMBO 1412
	// seq 2 serial 8 CLIENT|LAST 3
}
