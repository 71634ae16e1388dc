package broker

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// inlineAgent registers id with a callback on the loop.
func (s *sim) inlineAgent(id cbid.ID, f connector.HandlerFunc) *peer {
	p := s.root()
	in := newInline(s.h, p.c, id, f)
	in.ctx, in.log = context.Background(), slog.New(slog.DiscardHandler)
	p.c.inlines = map[uint64]*inline{id.Key(): in}
	p.add(id, "inline")
	return p
}

func TestACallbackOfThisProcessRunsAtOnceWithAllThatOthersHave(t *testing.T) {
	s := newSim(t, nil)
	var got []connector.From
	agent := s.inlineAgent(id1, func(ctx context.Context, d *connector.Delivery) {
		got = append(got, d.From)
		assert.True(t, d.Call)
		assert.NoError(t, d.Reply(ctx, []byte("to "+string(d.Msg.Data))))
	})
	user, mon := s.client(s.h.rules.self), s.root()
	mon.write(frame.Header{Type: frame.Monitor})
	mon.read()
	user.raw(msg(frame.Header{Flags: frame.FlagCall | frame.FlagAck, Tag: 3}, id1, 5, 6, "hello"))
	fr := user.read()
	require.Equal(t, []frame.Type{frame.Msg, frame.Ack}, types(fr))
	assert.Equal(t, "to hello", fr[0].data())
	assert.Equal(t, []uint32{5, 7}, []uint32{native.Uint32(fr[0].body[24:]), native.Uint32(fr[0].body[28:])})
	assert.Equal(t, uint8(frame.FlagReply), fr[0].Flags)
	assert.Equal(t, agent.c.port, fr[0].Port)
	assert.Equal(t, []connector.From{{Port: user.c.port, Cred: user.c.cred}}, got)
	agent.none()
	assert.Equal(t, []frame.Type{frame.Mon, frame.Mon}, types(mon.read()), "the reply and the request")
	assert.EqualValues(t, 1, s.h.idRows()[0].Messages)

	s.h.close(agent.c)
	user.send(frame.Header{Flags: frame.FlagAck}, id1, "x")
	fr = user.read()
	require.Equal(t, []frame.Type{frame.Gone, frame.Ack}, types(fr))
	assert.Equal(t, connector.ErrNoID.Code(), fr[1].Code)
}

func TestACallbackOnTheLoopThatSendsToItselfRunsAfterItself(t *testing.T) {
	s := newSim(t, nil)
	var agent *peer
	var order []string
	agent = s.inlineAgent(id1, func(_ context.Context, d *connector.Delivery) {
		text := string(d.Msg.Data)
		order = append(order, "begin "+text)
		if len(text) < 3 {
			hd := frame.Header{}
			fr := msg(hd, id1, 1, 2, text+"x")
			hd, _, _ = frame.Parse(fr)
			s.h.send(agent.c, &hd, fr)
			clear(fr)
		}
		order = append(order, "end "+text)
	})
	s.root().send(frame.Header{}, id1, "x")
	assert.Equal(t, "begin x,end x,begin xx,end xx,begin xxx,end xxx", strings.Join(order, ","))
}

func TestACallbackOnTheLoopAllocatesNothing(t *testing.T) {
	s := newSim(t, nil)
	data := make([]byte, 64)
	s.inlineAgent(id1, func(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, data) })
	user := s.root()
	send := msg(frame.Header{Flags: frame.FlagCall}, id1, 1, 2, "x")
	fr := make([]byte, len(send))
	turn := func() {
		copy(fr, send)
		s.h.input(user.c, fr)
		s.h.written(user.c, user.c.out.len())
		s.h.dirty = s.h.dirty[:0]
		user.c.dirty = false
	}
	turn()
	assert.Zero(t, testing.AllocsPerRun(100, turn))
}
