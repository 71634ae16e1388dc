package keyring_test

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/rxrpc"
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

// What the kernel's documentation does to prepare a server: a keyring with a secret key, named by an option of the socket.
func ExampleKeySource() {
	store := keyring.New(keyring.Config{})
	me := keyring.Cred{UID: 1000}
	check := func(id keyring.ID, err error) keyring.ID {
		if err != nil {
			fmt.Println(err)
		}
		return id
	}
	me.Ring = check(store.NewKeyring(me, "_ses"))
	ring := check(store.Add(me, keyring.TypeKeyring, "AFSkeys", nil, me.Ring))
	check(store.Add(me, keyring.TypeServer, "52:2", []byte{0xa7, 0x83, 0x8a, 0xcb, 0xc7, 0x83, 0xec, 0x94}, ring))

	server, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Keys: &keyring.KeySource{Store: store, Cred: me}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	fmt.Println(server.SetSecurityKeyring("AFSkeys"))
	fmt.Println(server.SetSecurityKey("afs@example.com"))
	// Output:
	// <nil>
	// rxrpc socket: setsockopt: keyring: request rxrpc "afs@example.com": no such key
}
