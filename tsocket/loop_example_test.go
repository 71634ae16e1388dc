package tsocket_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/tsocket"
)

// A server whose callbacks all run on one goroutine, and its client.
func ExampleLoop() {
	loop, err := tsocket.NewLoop(nil)
	if err != nil {
		panic(err)
	}
	client, server, err := tsocket.SocketPair()
	if err != nil {
		panic(err)
	}
	for _, s := range []tsocket.Socket{client, server} {
		if err := loop.Attach(s); err != nil { // Close of the loop closes them
			panic(err)
		}
	}
	ctx := context.Background()

	in := make([]byte, 64)
	var serve func(r *tsocket.Request[int])
	serve = func(r *tsocket.Request[int]) {
		n, err := r.Result()
		if err != nil {
			return
		}
		server.WritevSend(ctx, []byte("you said "), in[:n]).OnDone(func(*tsocket.Request[int64]) {
			server.ReadSomeSend(ctx, in).OnDone(serve)
		})
	}
	server.ReadSomeSend(ctx, in).OnDone(serve)

	out := make([]byte, 64)
	client.WritevSend(ctx, []byte("hello"))
	client.ReadSomeSend(ctx, out).OnDone(func(r *tsocket.Request[int]) {
		n, _ := r.Result()
		fmt.Println(string(out[:n]))
		loop.Close()
	})
	fmt.Println(loop.Run(ctx))
	// Output:
	// you said hello
	// <nil>
}

// A server that reads and writes by itself: no request is made, and nothing allocated.
func ExampleLoop_Watch() {
	loop, err := tsocket.NewLoop(nil)
	if err != nil {
		panic(err)
	}
	client, server, err := tsocket.SocketPair()
	if err != nil {
		panic(err)
	}
	defer client.Close()
	buf := make([]byte, 4096)
	_, err = loop.Watch(server, tsocket.Readable, func(tsocket.Ready) {
		n, err := server.TryRead(buf)
		switch {
		case errors.Is(err, tsocket.ErrAgain):
		case err != nil:
			loop.Close()
		default:
			fmt.Println(string(buf[:n]))
		}
	})
	if err != nil {
		panic(err)
	}
	go func() {
		_, _ = client.Writev(context.Background(), []byte("hello"))
		client.Close()
	}()
	fmt.Println(loop.Run(context.Background()))
	// Output:
	// hello
	// <nil>
}
