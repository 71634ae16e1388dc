package broker_test

import (
	"fmt"
	"net/netip"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// What a policy lets the agents of a broker do for a user.
func ExampleParsePolicy() {
	p, err := broker.ParsePolicy(`
[[rule]]
uid          = ["*"]
send         = ["tsocket"]
sock_connect = ["tcp 127.0.0.0/8:*"]

[[rule]]
uid          = [65534]
sock_connect = ["tcp 192.0.2.0/24:53"]
`)
	if err != nil {
		panic(err)
	}
	dns := broker.Access{Action: broker.SockConnect, Kind: broker.TCP, Addr: netip.MustParseAddrPort("192.0.2.1:53")}
	for _, uid := range []uint32{65534, 1000} {
		fmt.Println(uid, p.Allow(connector.Cred{UID: uid}, nil, dns))
	}
	// Output:
	// 65534 <nil>
	// 1000 sock_connect tcp 192.0.2.1:53: no sock_connect of rule 1 allows it to uid 1000
}
