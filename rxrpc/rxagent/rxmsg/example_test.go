package rxmsg_test

import (
	"fmt"
	"net/netip"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// The message that begins a call, as a client of the agent makes it, and as a monitor sees it.
func Example() {
	to := rxrpc.Addr{Service: 52, Addr: netip.MustParseAddrPort("192.0.2.1:7003")}
	m := rxmsg.Msg{Name: to.AppendRaw(nil), Control: rxmsg.AppendTag(nil, 1), Data: []byte("request")}
	data := rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply, Sock: 7}.Append(nil)
	data, err := m.Append(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	line, _ := rxmsg.Describe(connector.Message{ID: cbid.RxRPC, Data: data})
	fmt.Println(line)
	// Output:
	// rxrpc SENDMSG sock 7 call 1 to 192.0.2.1:7003/52, 7 bytes
}
