package keyring_test

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A service's key, as the kernel's documentation has it, and a server that looks it up with each client.
func Example() {
	s := keyring.New(keyring.Config{})
	me := keyring.Cred{UID: 1000}
	ring, err := s.NewKeyring(me, "services")
	if err != nil {
		fmt.Println(err)
		return
	}
	me.Ring = ring
	id, err := s.Add(me, keyring.TypeServer, "52:2", []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, ring)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := rxkad.NewServer(rxkad.ServerConfig{Keys: s.ServerKeys(me, ring)})
	info, err := s.Describe(me, id)
	fmt.Println(server.Index(), info.Type, info.Description, err)

	_, err = s.Request(me, keyring.TypeClient, "afs@example.com", 0)
	fmt.Println(err, errors.Is(err, keyring.ErrNoKey))
	// Output:
	// rxkad rxrpc_s 52:2 <nil>
	// keyring: request rxrpc "afs@example.com": no such key true
}
