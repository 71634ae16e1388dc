//go:build linux

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

// mobConfig is for a process that holds many connections, and ends one at random for
// each that it makes.
type mobConfig struct {
	Socket string
	Seed   uint64
	Slots  int      // connections held at a time
	Groups []uint32 // to be a member of
	Calls  []cbid.ID
	Idx    uint32 // of ids to register
}

// mobReport is how many connections come to a line that the process prints.
const mobReport = 25

// mob is that process.
type mob struct {
	mobConfig
	rnd   *rand.Rand
	lives uint32
	alive []net.Conn
	buses []*client.Bus // over some of alive
}

// mobMain runs until it is killed.
func mobMain() error {
	c, err := roleConfig[mobConfig]()
	if err != nil {
		return err
	}
	m := &mob{mobConfig: c, rnd: rand.New(rand.NewPCG(c.Seed, 9))}
	for reported := uint32(0); ; {
		if err := m.live(); err != nil {
			return err
		}
		for len(m.alive) > m.Slots {
			i := m.rnd.IntN(len(m.alive))
			_ = m.alive[i].Close()
			m.alive[i] = m.alive[len(m.alive)-1]
			m.alive = m.alive[:len(m.alive)-1]
		}
		for ; m.lives >= reported+mobReport; reported += mobReport {
			fmt.Println(len(m.alive))
		}
	}
}

func (m *mob) dial(context.Context) (net.Conn, error) {
	c, err := net.Dial("unix", m.Socket)
	if err == nil {
		m.lives++
		m.alive = append(m.alive, c)
	}
	return c, err
}

// live makes a client of some kind and leaves it to its fate.
func (m *mob) live() error {
	ctx := context.Background()
	kind := m.rnd.IntN(6)
	if kind == 0 && len(m.buses) < 20 {
		return m.library(ctx)
	}
	c, err := m.dial(ctx)
	if err != nil {
		return err
	}
	b := hello()
	group := m.Groups[m.rnd.IntN(len(m.Groups))]
	call := m.Calls[m.rnd.IntN(len(m.Calls))]
	switch kind {
	case 1: // a member that never reads
		b = append(b, head{typ: tJoin, group: group}.frame()...)
	case 2: // an agent that never reads, and watches
		b = append(b, head{typ: tAdd}.frame(idBody(cbid.Make(m.Idx, m.lives), "mob")...)...)
		b = append(b, head{typ: tWatch, tag: 1}.frame()...)
	case 3: // calls, and dies before the replies
		for range 20 {
			b = append(b, head{flags: fCall}.send(call, "called by the mob")...)
		}
	case 4: // half a frame, wherever it ends
		b = append(b, head{flags: fCall}.send(call, "half")...)
		b = b[:m.rnd.IntN(len(b))]
	default: // nonsense
		b = append(b, head{typ: byte(m.rnd.IntN(256)), port: m.rnd.Uint32()}.frame(make([]byte, m.rnd.IntN(50))...)...)
	}
	_, _ = c.Write(b)
	return nil
}

// library is a client of the library, whose connections are ended below it.
func (m *mob) library(ctx context.Context) error {
	b, err := client.Dial(ctx, &client.Config{
		Name: "mob", Conn: m.dial, Logger: slog.New(slog.DiscardHandler), DialTimeout: patience, Linger: -1, Reconnect: client.Reconnect{Disabled: true},
	})
	if err != nil {
		return err
	}
	m.buses = append(m.buses, b)
	if len(m.buses) == 20 {
		var wg sync.WaitGroup
		for _, old := range m.buses[:10] {
			wg.Go(func() { _ = old.Close() })
		}
		wg.Wait()
		m.buses = append(m.buses[:0], m.buses[10:]...)
	}
	if err := b.AddCallback(ctx, cbid.Make(m.Idx, m.lives), "mob", connector.HandlerFunc(echo)); err != nil {
		return err
	}
	e, err := b.Endpoint(ctx)
	if err != nil {
		return err
	}
	if err := e.Join(ctx, m.Groups[m.rnd.IntN(len(m.Groups))]); err != nil {
		return err
	}
	if _, err := b.Watch(ctx, nil); err != nil {
		return err
	}
	_, err = e.Call(ctx, connector.Message{ID: m.Calls[m.rnd.IntN(len(m.Calls))]}, toID)
	return err
}
