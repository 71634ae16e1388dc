package agentbench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// sinkID is where the sink listens on the bus.
var sinkID = cbid.Make(0x5000, 1)

// listenPath prepares the sink's end: accept waits for the source, addr is what that has to know.
func listenPath(ctx context.Context, a pathArgs) (accept func() (path, error), addr string, err error) {
	switch a.Path {
	case pathBus:
		n, done, err := openNode(ctx, a.Addr)
		if err != nil {
			return nil, "", err
		}
		l, err := n.Listen(ctx, sinkID, nil)
		if err != nil {
			done()
			return nil, "", err
		}
		return func() (path, error) {
			s, err := l.Accept(ctx)
			return newStreamPath(s, done), err
		}, a.Addr, nil
	case pathNATS:
		w, err := dialNATS(a.Addr, subjectSink, subjectSource)
		return func() (path, error) { return w, nil }, a.Addr, err
	}
	local, err := addrOf(a)
	if err != nil {
		return nil, "", err
	}
	listen := tsocket.ListenUnix
	if a.Path == pathTCP {
		listen = tsocket.ListenTCP
	}
	l, err := listen(local, nil)
	if err != nil {
		return nil, "", err
	}
	if a.Path == pathTCP {
		a.Addr = l.Addr().AddrPort().String()
	}
	return func() (path, error) {
		s, err := l.Accept(ctx)
		return newStreamPath(s, func() { _ = l.Close() }), err
	}, a.Addr, nil
}

// dialPath makes the source's end.
func dialPath(ctx context.Context, a pathArgs) (path, error) {
	switch a.Path {
	case pathBus:
		n, done, err := openNode(ctx, a.Addr)
		if err != nil {
			return nil, err
		}
		s, err := n.Dial(ctx, sinkID)
		if err != nil {
			done()
			return nil, err
		}
		return newStreamPath(s, done), nil
	case pathNATS:
		return dialNATS(a.Addr, subjectSource, subjectSink)
	}
	remote, err := addrOf(a)
	if err != nil {
		return nil, err
	}
	dial := tsocket.DialUnix
	if a.Path == pathTCP {
		dial = tsocket.DialTCP
	}
	s, err := dial(ctx, tsocket.Addr{}, remote)
	if err != nil {
		return nil, err
	}
	return newStreamPath(s, func() {}), nil
}

func addrOf(a pathArgs) (tsocket.Addr, error) {
	if a.Path == pathUnix {
		return tsocket.UnixAddr(a.Addr)
	}
	if a.Addr == "" {
		a.Addr = "127.0.0.1:0"
	}
	ap, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return tsocket.Addr{}, err
	}
	return tsocket.AddrFrom(ap)
}

func openNode(ctx context.Context, socket string) (n *bussock.Node, done func(), err error) {
	b, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "bench"})
	if err != nil {
		return nil, nil, err
	}
	if n, err = bussock.New(ctx, b, nil); err != nil {
		_ = b.Close()
		return nil, nil, err
	}
	return n, func() { _, _ = n.Close(), b.Close() }, nil
}

// streamPath has PDUs with a length of 4 bytes before them on a stream, each written by itself.
type streamPath struct {
	s    *tsocket.Stream
	r    *tsocket.PDUReader
	head [4]byte
	done func()
}

func newStreamPath(s *tsocket.Stream, done func()) path {
	if s == nil {
		return nil
	}
	return &streamPath{s: s, r: tsocket.NewPDUReader(s, tsocket.U32Size, 4+pduSize), done: done}
}

func (p *streamPath) send(pdu []byte) error {
	binary.BigEndian.PutUint32(p.head[:], uint32(len(pdu)))
	_, err := p.s.Writev(context.Background(), p.head[:], pdu)
	return err
}

func (p *streamPath) recv() ([]byte, error) {
	pdu, err := p.r.Next(context.Background())
	if err != nil {
		return nil, err
	}
	return pdu[4:], nil
}

func (p *streamPath) close() error {
	err := p.s.Close()
	p.done()
	return err
}

// natsPath has a message for each PDU.
type natsPath struct {
	nc  *nats.Conn
	sub *nats.Subscription
	to  string
}

const (
	subjectSource = "pdu.source"
	subjectSink   = "pdu.sink"
)

func dialNATS(url, own, to string) (path, error) {
	nc, err := nats.Connect(url, nats.NoReconnect(), nats.Timeout(time.Minute))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	p := &natsPath{nc: nc, to: to}
	if p.sub, err = nc.SubscribeSync(own); err == nil {
		if err = p.sub.SetPendingLimits(-1, -1); err == nil {
			err = nc.Flush()
		}
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return p, nil
}

func (p *natsPath) send(pdu []byte) error { return p.nc.Publish(p.to, pdu) }

func (p *natsPath) recv() ([]byte, error) {
	m, err := p.sub.NextMsgWithContext(context.Background())
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (p *natsPath) close() error {
	p.nc.Close()
	return nil
}
