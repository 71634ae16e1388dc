package tlsstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// lines is how a protocol of lines is read with a PDUReader.
func lines(b []byte) (int, error) { return bytes.IndexByte(b, '\n') + 1, nil }

// A connection begins in plain text and goes on in TLS, as with SMTP's STARTTLS.
// The client does not even wait for the answer before it says hello.
func Example_startTLS() {
	ctx := context.Background()
	plain, other := tsocket.Pipe() // or any two ends of a connection

	var server sync.WaitGroup
	server.Go(func() {
		command, err := tsocket.NewPDUReader(other, lines, 512).Next(ctx)
		if err != nil {
			fmt.Println("server:", err)
			return
		}
		fmt.Printf("server: %q in plain text\n", command)
		s, err := tlsstream.Server(ctx, other, serverConf) // with what was read ahead
		if err != nil {
			fmt.Println("server:", err)
			return
		}
		defer s.Close()
		command, err = tsocket.NewPDUReader(s, lines, 512).Next(ctx)
		fmt.Printf("server: %q in TLS, %v\n", command, err)
	})

	if _, err := plain.Writev(ctx, []byte("STARTTLS\n")); err != nil {
		fmt.Println(err)
		return
	}
	s, err := tlsstream.Client(ctx, plain, clientConf)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if _, err := s.Writev(ctx, []byte("AUTH "), []byte("secret\n")); err != nil {
		fmt.Println(err)
	}
	server.Wait()
	// Output:
	// server: "STARTTLS\n" in plain text
	// server: "AUTH secret\n" in TLS, <nil>
}

// HTTP/2 with TLS runs over any stream: net/http sees a net.Listener and a dial
// function, and does TLS itself. Here the streams are in memory.
func Example_http2() {
	accepted := make(chan net.Conn, 1)
	listener := streamListener{accepted}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{serverCert}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello over %s", r.Proto)
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.ServeTLS(listener, "", "") })

	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: ca.pool()},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			a, b := tsocket.Pipe()
			accepted <- tsocket.AsNetConn(b)
			return tsocket.AsNetConn(a), nil
		},
	}
	client := &http.Client{Transport: transport}
	for range 2 { // over one connection
		answer, err := client.Get("https://server.test/")
		if err != nil {
			fmt.Println(err)
			break
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		fmt.Println(string(body), err)
	}
	transport.CloseIdleConnections()
	_ = server.Close()
	serving.Wait()
	// Output:
	// hello over HTTP/2.0 <nil>
	// hello over HTTP/2.0 <nil>
}

// streamListener is a net.Listener of streams that come from anywhere.
type streamListener struct{ accepted chan net.Conn }

func (l streamListener) Accept() (net.Conn, error) {
	c, ok := <-l.accepted
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l streamListener) Close() error {
	close(l.accepted)
	return nil
}

func (l streamListener) Addr() net.Addr { return &net.UnixAddr{Net: "memory"} }
