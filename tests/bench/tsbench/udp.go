package tsbench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cnbus/cnbus/tsocket"
)

// flooded is a receiver to which the peer sends while it runs.
func (b *bench) flooded(to netip.AddrPort, receive side) (side, error) {
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := roomy(c); err != nil {
		return nil, err
	}
	fd, err := dupOf(c)
	if err != nil {
		return nil, err
	}
	if err := setSegment(fd, dgramSize); err != nil {
		return nil, fmt.Errorf("UDP_SEGMENT: %w", err)
	}
	control, err := b.job(jobFlood, fd)
	if err != nil {
		return nil, err
	}
	say := func(what byte) error {
		told := []byte{what}
		if _, err := control.Write(told); err != nil {
			return err
		}
		_, err := control.Read(told)
		return err
	}
	return func(n int) (int, error) {
		if err := say('1'); err != nil {
			return 0, err
		}
		n, err := receive(n)
		return n, errors.Join(err, say('0'))
	}, nil
}

// receivers makes a case of two ways to receive.
func (b *bench) receivers(receive func(d *tsocket.Dgram) side) (ours, rival side, err error) {
	d, err := b.oursUDP()
	if err != nil {
		return nil, nil, err
	}
	c, addr, err := b.udp()
	if err != nil {
		return nil, nil, err
	}
	ourAddr := d.LocalAddr().AddrPort()
	if ours, err = b.flooded(ourAddr, receive(d)); err != nil {
		return nil, nil, err
	}
	buf := make([]byte, 1<<16)
	rival, err = b.flooded(addr, times(func() error {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		return checkSize(n, err)
	}))
	return ours, rival, err
}

func checkSize(n int, err error) error {
	if err == nil && n != dgramSize {
		err = fmt.Errorf("datagram of %d bytes", n)
	}
	return err
}

// receiveOne is one datagram after the other.
func receiveOne(b *bench) (ours, rival side, err error) {
	return b.receivers(func(d *tsocket.Dgram) side {
		ctx, buf := context.Background(), make([]byte, 1<<16)
		return times(func() error {
			n, _, err := d.RecvFrom(ctx, buf)
			return checkSize(n, err)
		})
	})
}

// receiveBatch is many datagrams at a time.
func receiveBatch(pieces bool) newCase {
	return func(b *bench) (ours, rival side, err error) {
		return b.receivers(func(d *tsocket.Dgram) side {
			if pieces && !d.EnableGRO() {
				return func(int) (int, error) { return 0, errors.New("no UDP_GRO") }
			}
			ctx := context.Background()
			msgs := make([]tsocket.Message, batchSize)
			if !pieces {
				for i := range msgs {
					msgs[i].Buf = make([]byte, 2048)
				}
			}
			return func(n int) (got int, err error) {
				for got < n {
					k, err := d.RecvBatch(ctx, msgs)
					if err != nil {
						return got, err
					}
					for _, m := range msgs[:k] {
						if err := checkSize(len(m.Data), nil); err != nil {
							return got, err
						}
					}
					got += k
				}
				return got, nil
			}
		})
	}
}

// drains has the peer receive at n addresses.
func (b *bench) drains(n int) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for range n {
		c, addr, err := b.udp()
		if err != nil {
			return nil, err
		}
		fd, err := dupOf(c)
		if err != nil {
			return nil, err
		}
		if err := setPieces(fd); err != nil {
			return nil, fmt.Errorf("UDP_GRO: %w", err)
		}
		if _, err := b.job(jobDrain, fd); err != nil {
			return nil, err
		}
		all = append(all, addr)
	}
	return all, nil
}

// senders makes a case of two ways to send to as many addresses in turn.
func (b *bench) senders(addrs int, send func(d *tsocket.Dgram, to []tsocket.Addr) side) (ours, rival side, err error) {
	to, err := b.drains(addrs)
	if err != nil {
		return nil, nil, err
	}
	ourTo := make([]tsocket.Addr, addrs)
	for i, a := range to {
		ourTo[i] = tsocket.MustAddr(tsocket.AddrFrom(a))
	}
	d, err := b.oursUDP()
	if err != nil {
		return nil, nil, err
	}
	c, _, err := b.udp()
	if err != nil {
		return nil, nil, err
	}
	data, i := make([]byte, dgramSize), 0
	rival = times(func() error {
		i++
		_, err := c.WriteToUDPAddrPort(data, to[i%len(to)])
		return err
	})
	return send(d, ourTo), rival, nil
}

// sendOne is one datagram after the other.
func sendOne(b *bench) (ours, rival side, err error) {
	return b.senders(1, func(d *tsocket.Dgram, to []tsocket.Addr) side {
		ctx, data := context.Background(), make([]byte, dgramSize)
		return times(func() error {
			_, err := d.SendTo(ctx, data, to[0])
			return err
		})
	})
}

// sendBatch is many datagrams at a time. Those to one address can go as one
// piece, neighbours to different ones cannot.
func sendBatch(addrs, size int) newCase {
	return func(b *bench) (ours, rival side, err error) {
		return b.senders(addrs, func(d *tsocket.Dgram, to []tsocket.Addr) side {
			ctx, data := context.Background(), make([]byte, dgramSize)
			msgs := make([]tsocket.Message, size)
			for i := range msgs {
				msgs[i] = tsocket.Message{Data: data, Addr: to[i%len(to)]}
			}
			return func(n int) (sent int, err error) {
				for sent < n && err == nil {
					var k int
					k, err = d.SendBatch(ctx, msgs)
					sent += k
				}
				return sent, err
			}
		})
	}
}
