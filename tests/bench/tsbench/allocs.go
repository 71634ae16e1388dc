package tsbench

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/tsocket"
)

// allocations makes every blocking operation once, in turn: with a peer, so that it
// waits, and alone, so that it does not.
func allocations(b *bench) (ours, rival side, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	b.closers = append(b.closers, closer(cancel))
	var ops []func() error
	for _, network := range []string{"unix", "tcp"} {
		s, err := b.ours(network, jobEcho)
		if err != nil {
			return nil, nil, err
		}
		buf := make([]byte, msgSize)
		for _, ctx := range []context.Context{context.Background(), ctx} {
			ops = append(ops, func() error { return roundTrip(ctx, s, buf) }, func() error {
				_, err := s.Writev(ctx, buf[:4], buf[4:])
				for got := 0; got < len(buf) && err == nil; {
					var n int
					n, err = s.ReadSome(ctx, buf)
					got += n
				}
				_, perr := s.PendingBytes()
				return errors.Join(err, perr)
			})
		}
		flow, err := b.ours(network, jobPDUs)
		if err != nil {
			return nil, nil, err
		}
		r := tsocket.NewPDUReader(flow, tsocket.U32Size, pduHead+pduSize)
		ops = append(ops, func() error {
			_, err := r.Next(ctx)
			return err
		})
	}
	d, err := b.oursUDP()
	if err != nil {
		return nil, nil, err
	}
	msgs, in := make([]tsocket.Message, batchSize), make([]tsocket.Message, batchSize)
	data, buf := make([]byte, dgramSize), make([]byte, 1<<16)
	for i := range msgs {
		msgs[i] = tsocket.Message{Data: data, Addr: d.LocalAddr()}
	}
	for _, ctx := range []context.Context{context.Background(), ctx} {
		ops = append(ops, func() error {
			_, err := d.SendTo(ctx, data, d.LocalAddr())
			if err == nil {
				_, _, err = d.RecvFrom(ctx, buf)
			}
			return err
		}, func() error {
			n, err := d.SendBatch(ctx, msgs)
			for n > 0 && err == nil {
				var k int
				k, err = d.RecvBatch(ctx, in)
				n -= k
			}
			return err
		})
	}
	return times(func() error {
		for _, op := range ops {
			if err := op(); err != nil {
				return err
			}
		}
		return nil
	}), nil, nil
}
