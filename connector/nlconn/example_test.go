package nlconn_test

import (
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// The port ids of callbacks in netlink, where a group is an idx from 1 to 32.
func ExampleIDPort() {
	port, err := nlconn.IDPort(cbid.Make(5, 7))
	fmt.Printf("%#x %v\n", port, err)
	_, err = nlconn.IDPort(cbid.Make(33, 7))
	fmt.Println(err != nil)
	// Output:
	// 0x85000007 <nil>
	// true
}
