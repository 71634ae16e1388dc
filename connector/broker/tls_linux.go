package broker

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

const (
	// handshakeMax is how long a TLS client may take to prove itself, and handshakesMost how many may be at it.
	handshakeMax   = 10 * time.Second
	handshakesMost = 128
	// partingMax is how long the good-bye to a TLS client may take.
	partingMax = time.Second
)

// tlsServer takes clients over TLS. The loop sees each as a local connection, on whose other side are two goroutines
// that encipher and decipher: neither that nor a peer that stalls holds the loop up.
type tlsServer struct {
	loop   *loop
	ln     *tsocket.Listener
	conf   *tlsstream.Config
	ctx    context.Context // ends when the loop has
	cancel context.CancelFunc
	busy   chan struct{} // one for each handshake
	wg     sync.WaitGroup

	mu    sync.Mutex // guards lines
	lines warnings
}

func newTLSServer(l *loop, c *TLSConfig) (*tlsServer, error) {
	ln, conf, err := listenTLS(c)
	if err != nil {
		return nil, err
	}
	s := &tlsServer{loop: l, ln: ln, conf: &tlsstream.Config{TLS: conf}, busy: make(chan struct{}, handshakesMost)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// addr is "IP:port".
func (s *tlsServer) addr() string { return s.ln.Addr().NetAddr("tcp").String() }

func (s *tlsServer) start() { s.wg.Go(s.accept) }

// stop ends everything and waits for it.
func (s *tlsServer) stop() {
	s.cancel()
	_ = s.ln.Close()
	s.wg.Wait()
}

func (s *tlsServer) accept() {
	for {
		select {
		case s.busy <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := s.ln.Accept(s.ctx)
		if err == nil {
			s.wg.Go(func() { s.serve(c) })
			continue
		}
		<-s.busy
		if s.ctx.Err() != nil || errors.Is(err, tsocket.ErrClosed) {
			return
		}
		s.loop.log.Error("accept over TLS", "err", err)
		t := time.NewTimer(100 * time.Millisecond) // no descriptor is free: somebody has to leave first
		select {
		case <-t.C:
		case <-s.ctx.Done():
		}
		t.Stop()
	}
}

// serve is a client's life.
func (s *tlsServer) serve(plain *tsocket.Stream) {
	remote := plain.RemoteAddr().NetAddr("tcp").String()
	x, err := s.handshake(plain)
	<-s.busy
	if err != nil {
		if s.ctx.Err() == nil {
			s.warn("remote", remote, "why", err)
		}
		return
	}
	defer x.Close()
	x.SetHalfOpen(true)
	state, _ := tlsstream.State(x)
	cert := state.PeerCertificates[0] // verified: strict asks for one
	p := newLocal(s.loop)
	p.landing = true
	p.over, p.cut = context.WithCancel(context.Background())
	defer p.cut()
	known := true
	err = s.loop.do(s.ctx, func() {
		h := s.loop.hub
		cred, ok := h.rules.Certificate(cert)
		if known = ok; !ok {
			return
		}
		c := h.open(cred, nil)
		c.remote = remote + " " + cert.Subject.String()
		s.loop.adoptLocal(p, c)
	})
	if err == nil && !known {
		err = connector.ErrPermission
		s.warn("remote", remote, "subject", cert.Subject.String(), "why", "no [[certificate]] of the policy is for it")
		ctx, cancel := context.WithTimeout(s.ctx, partingMax)
		defer cancel()
		bye := frame.Header{Type: frame.Bye, Code: connector.ErrPermission.Code()}
		_, _ = x.Writev(ctx, bye.Append(nil, []byte("the policy of this broker knows nobody with the subject "+cert.Subject.String())...))
		_ = x.Disconnect(ctx)
	}
	if err != nil {
		_ = p.Close()
		return
	}
	s.pump(p, x)
}

// warn tells of somebody who was refused before there was a uid to count the lines of: they are counted together.
func (s *tlsServer) warn(args ...any) {
	s.mu.Lock()
	granted, omitted := s.lines.one(time.Now().UnixNano(), nobodyGID)
	s.mu.Unlock()
	for _, n := range omitted {
		s.loop.log.Warn("lines left out", "listener", "TLS", "lines", n)
	}
	if granted {
		s.loop.log.Warn("client refused", args...)
	}
}

func (s *tlsServer) handshake(plain *tsocket.Stream) (*tsocket.Stream, error) {
	ctx, cancel := context.WithTimeout(s.ctx, handshakeMax)
	defer cancel()
	_ = plain.SetNoDelay(true)
	_ = plain.SetKeepAlive(time.Minute, 15*time.Second, 4)
	x, err := tlsstream.Server(ctx, plain, s.conf)
	if err != nil {
		_ = plain.Close()
	}
	return x, err
}

// pump moves bytes both ways until the connection ends.
func (s *tlsServer) pump(p *local, x *tsocket.Stream) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(p.over, cancel)() // whatever is being written, the loop has given the client up
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, readMax)
		for {
			n, err := x.ReadSome(s.ctx, b)
			if err == nil {
				_, err = p.Writev(ctx, [][]byte{b[:n]})
			}
			switch {
			case err == nil:
				continue
			case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
				_ = p.CloseWrite(ctx)
			default:
				_ = p.Close()
			}
			return
		}
	})
	for {
		b, err := p.flight(s.ctx)
		if err != nil {
			break
		}
		if _, err := x.Writev(ctx, b); err != nil {
			_ = p.Close()
			break
		}
		p.landed()
	}
	bye, done := context.WithTimeout(s.ctx, partingMax)
	if p.over.Err() != nil && p.whole() {
		_ = x.CloseWrite(bye)
	}
	done()
	_ = x.Close()
	wg.Wait()
	_ = p.Close()
}
