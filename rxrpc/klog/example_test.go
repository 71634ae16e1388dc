package klog_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A program gets a token with the user's credential cache, and calls a volume location server with it.
func ExampleGet() {
	ctx := context.Background()
	cred, err := klog.Get(ctx, klog.Config{Cell: "example.com"})
	if err != nil {
		log.Fatal(err)
	}
	defer cred.Wipe()
	security, err := rxkad.NewClient(cred.Token, rxkad.Encrypt)
	if err != nil {
		log.Fatal(err)
	}
	client, err := rxrpc.Dial("192.0.2.1:7003", &rxrpc.ClientConfig{Security: security})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Call(ctx, 52, []byte{0, 0, 2, 2}) // VL_Probe
	fmt.Println(reply, err)
}

// What is wrong is told before anybody is asked.
func ExampleConfig() {
	_, err := klog.Get(context.Background(), klog.Config{Cell: "example.com", Password: "secret"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, syscall.EINVAL))
	// Output:
	// klog: read the configuration for example.com: a password needs the user's name: invalid argument
	// true
}
