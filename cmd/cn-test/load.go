package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/connector"
)

// load is senders and receivers in one group. Each message carries the number of
// its sender and its own, so that a receiver sees what is missing, doubled or out of
// order; the last one of each sender is marked and sent to each receiver by itself, which
// waits for room on every carrier, so that a receiver that has all marks has the whole account.
// On a site the marks go another way than the group's messages: a receiver that has all marks knows only how many there
// were, and waits until that many have come or were told as lost.
type load struct {
	f     loadFlags
	group uint32
	start time.Time
	took  time.Duration

	buses     []connector.Bus
	senders   []*loadSender
	receivers []*loadReceiver
	paths     []*path // of a site
}

// The data of a message begin with the sender's number u32, its mark u32 and the
// message's number u64.
const markLen = 16

const (
	markLast  = 1 // the sender's last message, sent to each receiver
	markBegin = 2 // before the first, without a number
)

// loadID is the id of the messages; nobody registers it.
var loadID = cbid.Make(cbid.CnTest.Idx, 0x10ad)

type loadSender struct {
	ep     connector.Endpoint
	number uint32
	sent   atomic.Uint64
}

func (l *load) open(ctx context.Context, c *busflag.Carrier) error {
	site := c.Hosts != nil
	endpoint := func(i int, name string) (connector.Endpoint, error) {
		b, err := c.On(i).Open(ctx, name)
		if err != nil {
			return nil, err
		}
		l.buses = append(l.buses, b)
		return b.Endpoint(ctx)
	}
	for i := range l.f.receivers {
		ep, err := endpoint(i, "cn-test receiver")
		if err != nil {
			return err
		}
		r := newLoadReceiver(ep, l.f.senders, i < l.f.slow)
		r.site = site
		l.receivers = append(l.receivers, r)
	}
	for i := range l.f.senders {
		ep, err := endpoint(i, "cn-test sender")
		if err != nil {
			return err
		}
		l.senders = append(l.senders, &loadSender{ep: ep, number: uint32(i)})
	}
	if l.group = l.f.group; l.group == 0 {
		l.group = min(0x6c000000|l.senders[0].ep.Port()&0xffffff, c.MaxGroup)
	}
	for _, r := range l.receivers {
		if err := r.ep.Join(ctx, l.group); err != nil {
			return err
		}
	}
	if site {
		return l.openSite(ctx, c)
	}
	return nil
}

func (l *load) close() {
	var wg sync.WaitGroup
	for _, b := range l.buses {
		wg.Go(func() { b.Close() })
	}
	wg.Wait()
}

// run sends, and returns when every receiver has the marks of all senders. An
// interrupt ends the sending, not the account.
func (l *load) run(ctx context.Context) error {
	l.start = time.Now()
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var readers, writers sync.WaitGroup
	errs := make(chan error, len(l.receivers)+len(l.senders)+len(l.paths))
	fail := func(err error) {
		if err != nil {
			errs <- err
			cancel(err)
		}
	}
	for _, r := range l.receivers {
		readers.Go(func() { fail(r.run(work)) })
	}
	sending := ctx
	if l.f.duration > 0 {
		var stop context.CancelFunc
		sending, stop = context.WithTimeout(ctx, l.f.duration)
		defer stop()
	}
	between, stopPaths := context.WithCancel(sending) // until the group's senders are done
	defer stopPaths()
	var paths sync.WaitGroup
	for _, p := range l.paths {
		paths.Go(func() { fail(p.run(between, work)) })
	}
	for _, s := range l.senders {
		writers.Go(func() { fail(l.send(sending, work, s)) })
	}
	writers.Wait()
	stopPaths()
	paths.Wait()
	l.took = time.Since(l.start)
	// All that was sent is with its receivers or reported; they need not long for
	// the rest.
	timer := time.AfterFunc(drainTime, func() { cancel(errDrain) })
	readers.Wait()
	timer.Stop()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

const drainTime = time.Minute

var errDrain = fmt.Errorf("a receiver has not got the end of what was sent within %v: %w", drainTime, connector.ErrTimeout)

// send is one sender: as fast as the carrier takes it, then the mark.
func (l *load) send(sending, work context.Context, s *loadSender) error {
	m := connector.Message{ID: loadID, Data: make([]byte, l.f.size)}
	to := connector.Dest{Group: l.group}
	if l.f.wait {
		to.Full = connector.FullWait
	}
	n := uint64(0)
	put := func(last uint32) {
		binary.NativeEndian.PutUint32(m.Data, s.number)
		binary.NativeEndian.PutUint32(m.Data[4:], last)
		binary.NativeEndian.PutUint64(m.Data[8:], n)
		m.Seq = uint32(n)
	}
	for sending.Err() == nil && work.Err() == nil && (l.f.count == 0 || n < uint64(l.f.count)-1) {
		put(0)
		if err := s.ep.Post(work, m, to); err != nil {
			return fmt.Errorf("sender %d: %w", s.number, err)
		}
		n++
		s.sent.Store(n)
	}
	put(markLast)
	for _, r := range l.receivers {
		if err := s.ep.Send(work, m, connector.Dest{Port: r.ep.Port()}); err != nil {
			return fmt.Errorf("sender %d, last message: %w", s.number, err)
		}
	}
	s.sent.Store(n + 1)
	return nil
}

// sent is how many messages all senders have sent.
func (l *load) sent() (n uint64) {
	for _, s := range l.senders {
		n += s.sent.Load()
	}
	return n
}
