//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

// probe prints what this kernel's AF_RXRPC says about itself.
func probe() {
	for _, v6 := range []bool{false, true} {
		fd, err := rxSocket(v6)
		if err != nil {
			fmt.Printf("probe: socket v6=%v: %s\n", v6, errs(err))
			continue
		}
		var v, l uint32 = 0, 4
		vb := u32(0)
		lb := u32(4)
		e := getopt(fd, optSupportedCmsg, vb, lb)
		v, l = binary.NativeEndian.Uint32(vb), binary.NativeEndian.Uint32(lb)
		fmt.Printf("probe: socket v6=%v ok; RXRPC_SUPPORTED_CMSG = %d (len %d) err=%v\n", v6, v, l, e)
		// classic accept, on an unbound socket the cmsg parser still answers
		_, err = rxSend(fd, nil, nil, 0, cmsg{cUserCallID, u64(1)}, cmsg{cAcceptOld, nil})
		fmt.Printf("probe: sendmsg with cmsg 9 (old RXRPC_ACCEPT): %v\n", errs(err))
		_, err = rxSend(fd, nil, nil, 0, cmsg{cUserCallID, u64(1)}, cmsg{cChargeAccept, nil})
		fmt.Printf("probe: sendmsg CHARGE_ACCEPT on an unbound socket: %v\n", errs(err))
		syscall.Close(fd)
	}
}
