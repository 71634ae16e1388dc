package npa_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

// A server behind a file server: the client of the pipe says for whom it speaks, and what
// follows is a stream like any other.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "np")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	at, err := tsocket.UnixAddr(filepath.Join(dir, "lsarpc"))
	if err != nil {
		panic(err)
	}
	l, err := tsocket.ListenUnix(at, nil)
	if err != nil {
		panic(err)
	}
	defer l.Close()

	who := &npa.Request{ClientName: "workstation", ClientAddr: "192.0.2.7", ClientPort: 50123}
	connecting := npa.ConnectSend(ctx, dir, "LSARPC", who)
	s, err := l.Accept(ctx)
	if err != nil {
		panic(err)
	}
	server, from, err := npa.Accept(ctx, s, &npa.AcceptConfig{FileType: npa.MessageMode})
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := connecting.Wait(ctx)
	if err != nil {
		panic(err)
	}
	defer client.Stream.Close()
	fmt.Println(from.ClientName, from.ClientPort)

	if _, err := client.Stream.Writev(ctx, []byte("bind")); err != nil {
		panic(err)
	}
	got := make([]byte, 4)
	_, err = server.Readv(ctx, got)
	fmt.Printf("%s %v\n", got, err)
	// Output:
	// workstation 50123
	// bind <nil>
}
