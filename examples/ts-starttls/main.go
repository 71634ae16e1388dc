// Command ts-starttls is a server of lines that speaks TLS when it is asked to, on the
// connection that is there: it answers STARTTLS with a line and goes on in TLS with
// whatever the client has sent since, however it came. Other lines it sends back.
//
//	ts-starttls -listen 127.0.0.1:2525 -cert server.pem -key server.key
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"log"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// maxLine is how long a line may be.
const maxLine = 1000

func main() {
	listen := flag.String("listen", "127.0.0.1:2525", "`address` to listen on")
	cert := flag.String("cert", "server.pem", "`file` of the certificate")
	key := flag.String("key", "server.key", "`file` of its key")
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	addr, err := tsocket.ParseHostPort("ip", *listen, 2525)
	if err != nil {
		log.Fatal(err)
	}
	l, err := tsocket.ListenTCP(addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	config := &tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}
	ctx := context.Background()
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if err := serve(ctx, s, config); err != nil {
				log.Print(err)
			}
		}()
	}
}

// line is a tsocket.SizeFunc.
func line(b []byte) (int, error) { return bytes.IndexByte(b, '\n') + 1, nil }

// serve answers lines until the client ends, and closes s.
func serve(ctx context.Context, s *tsocket.Stream, config *tlsstream.Config) error {
	defer func() { _ = s.Close() }() // the one it is then: that of TLS closes the one below
	in := tsocket.NewPDUReader(s, line, maxLine)
	secure := false
	for {
		said, err := in.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if secure || !bytes.Equal(bytes.TrimSpace(said), []byte("STARTTLS")) {
			if _, err := s.Writev(ctx, said); err != nil { // borrowed, but written before the next read
				return err
			}
			continue
		}
		if _, err := s.Writev(ctx, []byte("go ahead\n")); err != nil {
			return err
		}
		// What the reader has read too much belongs to s, so TLS begins
		// with it: nothing that was sent in plain text can be taken for a line later.
		over, err := tlsstream.Server(ctx, s, config)
		if err != nil {
			return err
		}
		s, in, secure = over, tsocket.NewPDUReader(over, line, maxLine), true
	}
}
