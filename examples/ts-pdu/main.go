// Command ts-pdu is a server of a protocol whose messages have a length in
// front: it answers each with the same in capitals. Messages are read ahead, many with
// one system call; answers go through a queue, so that nobody has to wait for the
// one before.
//
//	ts-pdu -socket /tmp/pdu.sock
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"log"

	"github.com/cnbus/cnbus/tsocket"
)

// maxPDU is how long a message may be, with its length.
const maxPDU = 1 << 20

func main() {
	path := flag.String("socket", "pdu.sock", "`path` of the socket to listen on")
	flag.Parse()
	addr, err := tsocket.UnixAddr(*path)
	if err != nil {
		log.Fatal(err)
	}
	l, err := tsocket.ListenUnix(addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer s.Close()
			if err := serve(ctx, s); err != nil {
				log.Print(err)
			}
		}()
	}
}

// serve answers until the peer has finished between two messages.
func serve(ctx context.Context, s *tsocket.Stream) error {
	// The peer may finish writing and still wait for answers.
	s.SetHalfOpen(true)
	in := tsocket.NewPDUReader(s, tsocket.U32Size, maxPDU)
	out := tsocket.NewQueue("answers")
	defer out.Close()
	var last *tsocket.Request[int64]
	for {
		pdu, err := in.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			if last != nil {
				_, err = last.Wait(ctx) // the others are before it in the queue
				return err
			}
			return nil
		case err != nil:
			return err
		}
		// pdu is borrowed until the next read, ToUpper makes a copy.
		last = out.WritevSend(ctx, s, frame(bytes.ToUpper(pdu[4:]))...)
	}
}

// frame returns the vectors of a message.
func frame(body []byte) [][]byte {
	return [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(body))), body}
}
