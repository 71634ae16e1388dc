package broker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func (p *peer) follow(port uint32, num uint64) {
	p.s.t.Helper()
	p.write(frame.Header{Type: frame.Follow, Tag: 9, Port: port, Pos: num})
	require.Zero(p.s.t, p.code())
}

func TestFollowersAreToldOnceBehindTheLastMessages(t *testing.T) {
	s := newSim(t, nil)
	agent, user, other := s.root(), s.root(), s.root()
	agent.add(id1, "agent")
	agent.follow(user.c.port, 1)
	agent.follow(user.c.port, 2)
	other.follow(user.c.port, 1)
	other.write(frame.Header{Type: frame.Unfollow, Pos: 1})
	other.write(frame.Header{Type: frame.Unfollow, Pos: 1})
	assert.Equal(t, 2, s.h.accounts[0].follows)
	user.send(frame.Header{}, id1, "the last")
	s.h.close(user.c)
	fr := agent.read()
	require.Equal(t, []frame.Type{frame.Msg, frame.PortGone, frame.PortGone}, types(fr))
	assert.Equal(t, []uint32{user.c.port, user.c.port}, []uint32{fr[1].Port, fr[2].Port})
	assert.EqualValues(t, 3, fr[1].Pos+fr[2].Pos)
	other.none()
	assert.Zero(t, s.h.accounts[0].follows)

	agent.write(frame.Header{Type: frame.Follow, Port: user.c.port, Pos: 3, Tag: 4})
	fr = agent.read()
	require.Equal(t, []frame.Type{frame.Ack, frame.PortGone}, types(fr), "nobody has it")
	assert.Equal(t, []uint64{4, 3}, []uint64{uint64(fr[0].Tag), fr[1].Pos})
}

func TestFollowersThatGoAreForgotten(t *testing.T) {
	s := newSim(t, nil)
	a, b := s.root(), s.root()
	a.follow(b.c.port, 1)
	b.follow(a.c.port, 1)
	a.follow(a.c.port, 2)
	s.h.close(a.c)
	assert.Empty(t, b.c.followers)
	assert.Equal(t, a.c.port, b.one(frame.PortGone).Port)
	s.h.close(b.c)
	assert.Empty(t, s.h.accounts)
}

func TestFollowIsRefusedWithAReason(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid = [0]\nadmin = true\n[[limit]]\nfollows = 1\n")
	require.NoError(t, err)
	s := newSim(t, p)
	a, b := s.root(), s.root()
	a.write(frame.Header{Type: frame.Follow})
	assert.Equal(t, connector.ErrInvalid.Code(), a.code(), "port 0")
	a.follow(b.c.port, 7)
	a.write(frame.Header{Type: frame.Follow, Port: b.c.port, Pos: 7})
	assert.Equal(t, connector.ErrInvalid.Code(), a.code(), "the same number")
	b.write(frame.Header{Type: frame.Follow, Port: a.c.port, Pos: 1})
	f := b.one(frame.Ack)
	assert.Equal(t, connector.ErrLimit.Code(), f.Code)
	assert.Contains(t, string(f.body), "1 follows")
	a.write(frame.Header{Type: frame.Follow, Port: 1}, 'x')
	assert.Equal(t, connector.ErrProtocol.Code(), a.one(frame.Bye).Code)
}
