// Command ts-pipe serves a named pipe of Samba's kind: it accepts clients of a unix socket,
// learns who they are from what is said first (named pipe auth), and sends every message back.
// With -connect it is the client, which sends its arguments.
//
//	ts-pipe -dir /tmp/np -name echo
//	ts-pipe -dir /tmp/np -connect -name ECHO hello world
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

func main() {
	dir := flag.String("dir", "np", "`directory` of the pipes, which should be accessible for nobody else")
	name := flag.String("name", "echo", "`name` of the pipe")
	connect := flag.Bool("connect", false, "be the client")
	flag.Parse()
	ctx := context.Background()
	var err error
	if *connect {
		err = ask(ctx, os.Stdout, *dir, *name, flag.Args())
	} else {
		err = listen(ctx, *dir, *name)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func listen(ctx context.Context, dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	addr, err := tsocket.UnixAddr(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	l, err := tsocket.ListenUnix(addr, nil)
	if err != nil {
		return err
	}
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go func() {
			if err := serve(ctx, s); err != nil {
				log.Print(err)
			}
		}()
	}
}

// check decides who may use the pipe: whoever has a name.
func check(r *npa.Request) error {
	if r.ClientName == "" {
		return npa.StatusAccessDenied
	}
	return nil
}

// serve greets a client and sends back what it says.
func serve(ctx context.Context, s *tsocket.Stream) error {
	defer func() { _ = s.Close() }()
	pipe, who, err := npa.Accept(ctx, s, &npa.AcceptConfig{FileType: npa.MessageMode, Check: check})
	if err != nil {
		return err
	}
	defer func() { _ = pipe.Close() }()
	log.Printf("%s (%s) is there", who.ClientName, who.ClientAddr)
	buf := make([]byte, 65535) // the largest message: a read takes no more than one
	for {
		n, err := pipe.ReadSome(ctx, buf)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if _, err := pipe.Writev(ctx, buf[:n]); err != nil {
			return err
		}
	}
}

// ask sends each word as a message and prints the answers.
func ask(ctx context.Context, out io.Writer, dir, name string, words []string) error {
	pipe, reply, err := npa.Connect(ctx, dir, name, &npa.Request{ClientName: "ts-pipe", ClientAddr: "127.0.0.1"})
	if err != nil {
		return err
	}
	defer func() { _ = pipe.Close() }()
	fmt.Fprintf(out, "%s in %v\n", name, reply.FileType)
	for _, w := range words {
		if w == "" {
			continue // there are no empty messages
		}
		if _, err := pipe.Writev(ctx, []byte(w)); err != nil {
			return err
		}
		answer := make([]byte, len(w))
		if _, err := pipe.Readv(ctx, answer); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", answer)
	}
	return pipe.Disconnect(ctx)
}
