package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/tsocket"
)

const (
	dgramMark   = 16 // bytes, the least that a datagram of the test has
	dgramFlying = 32 // datagrams that are under way: more than the kernel's buffers would lose some
)

// dgramEcho echoes datagrams, of which a few are under way at a time.
func (r *sockRun) dgramEcho(ctx context.Context) (sockCount, error) {
	count := sockCount{Kind: "udp", Sockets: 2}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := r.server.UDP(ctx, here, tsocket.Addr{})
	if err != nil {
		return count, err
	}
	defer server.Close()
	client, err := r.client.UDP(ctx, here, server.LocalAddr())
	if err != nil {
		return count, err
	}
	defer client.Close()
	// Without notices a send waits for its outcome: one datagram for each round trip to the agent, which is far on a site.
	for _, d := range []*tsocket.Dgram{server, client} {
		if err := d.SetNotices(true); err != nil {
			return count, err
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { serveDatagrams(ctx, server) })
	defer wg.Wait()
	defer cancel()
	begun := time.Now()
	err = r.flyDatagrams(ctx, client, &count)
	count.TimeNS = time.Since(begun)
	count.Missing = count.Sent - min(count.Sent, count.Echoed+count.Wrong)
	count.Bytes = (count.Sent + count.Echoed) * uint64(r.size)
	return count, err
}

// serveDatagrams sends back what comes.
func serveDatagrams(ctx context.Context, d *tsocket.Dgram) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := d.RecvFrom(ctx, buf)
		if err == nil {
			_, err = d.SendTo(ctx, buf[:n], from)
		}
		if ctx.Err() != nil || errors.Is(err, tsocket.ErrClosed) {
			return
		}
	}
}

// flyDatagrams sends, and takes what comes back: each once.
func (r *sockRun) flyDatagrams(ctx context.Context, d *tsocket.Dgram, count *sockCount) error {
	flying := make(map[uint64]bool)
	buf, got, want := make([]byte, r.size), make([]byte, 64<<10), make([]byte, r.size)
	datagram := func(b []byte, n uint64) {
		mark(b, n)
		binary.BigEndian.PutUint64(b, n)
	}
	for next := uint64(0); next < uint64(r.datagrams) || len(flying) > 0; {
		for ; next < uint64(r.datagrams) && len(flying) < dgramFlying; next++ {
			datagram(buf, next)
			if _, err := d.SendTo(ctx, buf, tsocket.Addr{}); err != nil {
				return err
			}
			flying[next] = true
			count.Sent++
		}
		wait, done := context.WithTimeout(ctx, r.timeout)
		n, _, err := d.RecvFrom(wait, got)
		done()
		switch {
		case err != nil && ctx.Err() == nil && wait.Err() != nil:
			return errors.Join(errMissing, cli.ErrNoAnswer)
		case err != nil:
			return err
		case n != r.size:
			count.Wrong++
			continue
		}
		num := binary.BigEndian.Uint64(got)
		datagram(want, num)
		if !flying[num] || !bytes.Equal(got[:n], want) {
			count.Wrong++
			continue
		}
		delete(flying, num)
		count.Echoed++
	}
	return nil
}

var errMissing = errors.New("datagrams did not come back")
