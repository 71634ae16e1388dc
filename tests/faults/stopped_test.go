//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// memberConfig is for a process that is a member of a group and registers an id.
type memberConfig struct {
	Socket string
	Group  uint32
	ID     cbid.ID
}

// lastNumber ends a numbered stream.
const lastNumber = 1<<64 - 1

// account is what a receiver of numbered messages, 0 and up, has found.
type account struct {
	next, got, lost uint64
	wrong           string
}

// take notes an event of the stream; done is true at the end of it.
func (a *account) take(ev connector.Event) (done bool) {
	switch {
	case ev.Kind == connector.EventLost && !ev.Unknown:
		a.lost += ev.Lost
		a.next += ev.Lost
	case ev.Kind == connector.EventMessage && native.Uint64(ev.Msg.Data) == lastNumber:
		return true
	case ev.Kind == connector.EventMessage && native.Uint64(ev.Msg.Data) == a.next:
		a.got++
		a.next++
	case a.wrong == "":
		a.wrong = fmt.Sprintf("%v %x where %d should come", ev.Kind, ev.Msg.Data[:min(8, len(ev.Msg.Data))], a.next)
	}
	return false
}

func (a *account) String() string { return fmt.Sprintf("%d %d %q", a.got, a.lost, a.wrong) }

// memberMain prints what it got until the end of each stream.
func memberMain() error {
	c, err := roleConfig[memberConfig]()
	if err != nil {
		return err
	}
	ctx := context.Background()
	b, err := client.Dial(ctx, &client.Config{Socket: c.Socket, Name: "member", DialTimeout: patience})
	if err != nil {
		return err
	}
	defer b.Close()
	var called account
	end := make(chan struct{})
	err = b.AddCallback(ctx, c.ID, "member", connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		if called.take(connector.Event{Kind: connector.EventMessage, Msg: d.Msg}) {
			close(end)
		}
	}))
	if err != nil {
		return err
	}
	e, err := b.Endpoint(ctx)
	if err != nil {
		return err
	}
	if err := e.Join(ctx, c.Group); err != nil {
		return err
	}
	fmt.Println("ready")
	var heard account
	for done := false; !done; {
		ev, err := e.Recv(ctx)
		if err != nil {
			return err
		}
		done = heard.take(ev)
	}
	<-end
	fmt.Println(heard.String())
	fmt.Println(called.String())
	return nil
}

// A process that is stopped harms itself: who sends to it waits, the group goes
// on without it, and when it goes on it has all that it was sent, or knows how much is missing.
func TestStoppedProcessHarmsOnlyItself(t *testing.T) {
	t.Parallel()
	s := newSite(t, brokerConfig{QueueBytes: 256 << 10})
	o := s.observer()
	echoes(t, s.bus("agent"), echoID)
	caller := endpoint(t, s.bus("caller"))
	talks(t, caller, 1)
	p := spawn(t, "member", memberConfig{Socket: s.cfg.Socket, Group: 50, ID: silentID})
	require.Equal(t, "ready", p.line())
	healthy := member(t, s.bus("healthy"), 50)
	p.signal(syscall.SIGSTOP)
	eventually(t, "the process is stopped", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid()))
		require.NoError(t, err)
		return strings.Contains(string(b), "State:\tT")
	})

	ctx := limited(t)
	heard := make(chan account, 1)
	go func() {
		var a account
		for done := false; !done; {
			ev, err := healthy.Recv(ctx)
			if err != nil {
				a.wrong = err.Error()
				break
			}
			done = a.take(ev)
		}
		heard <- a
	}()
	// stream posts numbers until it is told to stop, and how many, in the end.
	stream := func(to connector.Dest) (stop context.CancelFunc, sent chan uint64) {
		e := endpoint(t, s.bus("stream"))
		run, stop := context.WithCancel(ctx)
		sent = make(chan uint64, 1)
		go func() {
			n := uint64(0)
			for ; run.Err() == nil; n++ {
				if e.Post(run, connector.Message{ID: silentID, Data: number(n, 1000)}, to) != nil {
					break // it waited, and nothing was sent
				}
			}
			to.Full = connector.FullWait
			assert.NoError(t, e.Send(ctx, connector.Message{ID: silentID, Data: number(lastNumber, 8)}, to))
			sent <- n
		}()
		return stop, sent
	}
	stopGroup, toGroup := stream(connector.Dest{Group: 50})
	stopCalls, toMember := stream(toID)
	eventually(t, "the member loses, and its sender waits", func() bool {
		lost, waiting := false, false
		for _, row := range ask[[]broker.ConnRow](o, "conns") {
			if row.Name == "member" {
				lost, waiting = lost || row.Lost > 0, waiting || row.Waiting > 0
			}
		}
		return lost && waiting
	})
	talks(t, caller, 200)
	stopGroup()
	stopCalls()
	p.signal(syscall.SIGCONT)
	nGroup, nMember := <-toGroup, <-toMember
	a := <-heard
	assert.Empty(t, a.wrong)
	assert.Equal(t, nGroup, a.got+a.lost)

	var got, lost uint64
	var wrong string
	line := p.line()
	_, err := fmt.Sscanf(line, "%d %d %q", &got, &lost, &wrong)
	require.NoError(t, err, line)
	assert.Empty(t, wrong)
	assert.Equal(t, nGroup, got+lost, "of the group")
	assert.Positive(t, lost)
	assert.Equal(t, (&account{got: nMember}).String(), p.line(), "of the id: nothing is missing")
	p.wait()
}
