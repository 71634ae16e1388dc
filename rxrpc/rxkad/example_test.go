package rxkad_test

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A program on a server, which can read the service's key, makes a token of it as commands with -localauth do.
func ExampleLocalAuth4() {
	key := rxkad.NewKey([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})
	defer key.Wipe()
	token, err := rxkad.LocalAuth4(key, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	security, err := rxkad.NewClient(token, rxkad.Encrypt)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(security.Level(), token)
	fmt.Println(key)
	// Output:
	// encrypt rxkad token (Kerberos 4, key version 3, ticket of 32 bytes, never expires)
	// [key]
}

// A server that encrypts everything and lets only members of a list in.
func ExampleNewServer() {
	members := map[string]bool{"alice": true, "bob": true}
	security := rxkad.NewServer(rxkad.ServerConfig{
		Keys:     rxkad.OneKey(3, rxkad.NewKey([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})),
		MinLevel: rxkad.Encrypt,
		Authorize: func(who *rxkad.Identity) error {
			if who.LocalAuth() || members[who.String()] {
				return nil
			}
			return rxkad.NoAuth
		},
	})
	fmt.Println(security.Index())
	// Output: rxkad
}

func ExampleCode() {
	var err error = rxkad.Expired
	fmt.Println(err)
	fmt.Println(errors.Is(err, syscall.Errno(127)), rxkad.Expired.AbortCode()) // EKEYEXPIRED
	// Output:
	// rxkad: expired (RXKADEXPIRED)
	// true 19270409
}
