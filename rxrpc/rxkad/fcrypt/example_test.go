package fcrypt_test

import (
	"fmt"

	"github.com/cnbus/cnbus/rxrpc/rxkad/fcrypt"
)

// Two blocks, each chained with the one before it, and back.
func Example() {
	c := fcrypt.New([fcrypt.KeySize]byte{0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87})
	defer c.Wipe()
	iv := [fcrypt.BlockSize]byte{0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	b := []byte("The quick brown ")
	c.Encrypt(b, b, iv)
	fmt.Printf("%x\n", b)
	c.Decrypt(b, b, iv)
	fmt.Printf("%q\n", b)
	// Output:
	// 00f00e1175e62382eeac98624451e484
	// "The quick brown "
}
