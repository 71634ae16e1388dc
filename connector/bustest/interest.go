package bustest

import (
	"context"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// interested is a handler that records its Interest calls and its messages in
// the order they come.
type interested struct{ got chan string }

func (h *interested) Handle(_ context.Context, d *connector.Delivery) { h.got <- string(d.Msg.Data) }

func (h *interested) Interest(_ context.Context, group uint32, listening bool) {
	switch {
	case group != id(0).Idx:
		h.got <- "wrong group"
	case listening:
		h.got <- "somebody"
	default:
		h.got <- "nobody"
	}
}

func interestCap(c Caps) bool { return c.Registry && c.Interest }

var interestTests = []test{
	{name: "a callback is told when the first listener comes and the last goes", need: interestCap, run: func(e *env) {
		h := &interested{make(chan string, 100)}
		agent := e.bus()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "interested", h))
		assert.Equal(e, "nobody", get(e, h.got, "the first word"))
		a := e.member(group(0))
		assert.Equal(e, "somebody", get(e, h.got, "word of the first"))
		b := e.member(group(0), group(0))
		require.NoError(e, a.Leave(e.ctx, group(0)))
		require.NoError(e, a.Leave(e.ctx, group(0)))
		require.NoError(e, a.Join(e.ctx, group(1)))
		require.NoError(e, a.Send(e.ctx, text(id(0), "still somebody"), toID))
		assert.Equal(e, "still somebody", get(e, h.got, "the message"))
		require.NoError(e, b.Close())
		assert.Equal(e, "nobody", get(e, h.got, "word of the last"))
		require.NoError(e, a.Join(e.ctx, group(0)))
		assert.Equal(e, "somebody", get(e, h.got, "word of the next"))
	}},
	{name: "a callback registered under a group with listeners is told so", need: interestCap, run: func(e *env) {
		e.member(group(0))
		h, g := &interested{make(chan string, 100)}, &interested{make(chan string, 100)}
		agent, other, ep := e.bus(), e.bus(), e.endpoint()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "interested", h))
		require.NoError(e, other.AddCallback(e.ctx, id(0, 2), "same group", g))
		require.NoError(e, ep.Send(e.ctx, text(id(0), "after"), toID))
		assert.Equal(e, "somebody", get(e, h.got, "the first word"))
		assert.Equal(e, "somebody", get(e, g.got, "the first word"))
		assert.Equal(e, "after", get(e, h.got, "the message"))
	}},
	{name: "the last word is the truth, whoever comes and goes meanwhile", need: interestCap, run: func(e *env) {
		h := &interested{make(chan string, 10000)}
		agent := e.bus()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "interested", h))
		var done []<-chan struct{}
		for range 4 {
			ep := e.endpoint()
			done = append(done, e.spawn(func() {
				for range 50 {
					assert.NoError(e, ep.Join(e.ctx, group(0)))
					assert.NoError(e, ep.Leave(e.ctx, group(0)))
				}
			}))
		}
		for _, d := range done {
			e.await(d, "the churn's end")
		}
		ep := e.member(group(0))
		last, words := "", 0
		require.NoError(e, ep.Send(e.ctx, text(id(0), "end"), toID))
		for w := get(e, h.got, "a word"); w != "end"; w = get(e, h.got, "a word") {
			require.NotEqual(e, last, w, "told twice")
			last = w
			words++
		}
		assert.Equal(e, "somebody", last)
		e.Logf("%d words for 401 comings and goings", words)
	}},
}
