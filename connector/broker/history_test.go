package broker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func (p *peer) history(group uint32, msgs, bytes, age uint64) uint16 {
	p.write(frame.Header{Type: frame.History, Group: group}, frame.AppendU64s(nil, msgs, bytes, age)...)
	return p.code()
}

// joinAt resumes and returns the group's last position and epoch, and what came.
func (p *peer) joinAt(group uint32, epoch, pos uint64) (last, now uint64, rest []got) {
	p.s.t.Helper()
	p.write(frame.Header{Type: frame.Join, Flags: frame.FlagAt, Group: group, Pos: pos}, frame.AppendU64s(nil, epoch)...)
	fr := p.read()
	require.Equal(p.s.t, frame.Ack, fr[0].Type)
	require.Zero(p.s.t, fr[0].Code, "%s", fr[0].body)
	return fr[0].Pos, native.Uint64(fr[0].body), fr[1:]
}

func positions(fr []got) (ps []uint64) {
	for _, f := range fr {
		if f.Type == frame.Msg {
			ps = append(ps, f.Pos)
		}
	}
	return ps
}

func TestResumeGivesWhatWasMissedOrSaysHowMuchIsGone(t *testing.T) {
	s := newSim(t, nil)
	a, b := s.root(), s.root()
	require.Zero(t, a.history(5, 10, 0, 0))
	for range 4 {
		a.send(frame.Header{Group: 5}, id1, "x")
	}
	a.none() // kept for later, so it is no failure that nobody listens
	last, epoch, rest := b.joinAt(5, 0, 0)
	assert.Equal(t, uint64(4), last)
	assert.Equal(t, uint64(77), epoch)
	assert.Equal(t, []uint64{1, 2, 3, 4}, positions(rest))
	s.h.close(b.c)
	for range 20 {
		a.send(frame.Header{Group: 5}, id1, "x")
	}
	_, _, rest = s.root().joinAt(5, epoch, 4)
	require.Equal(t, frame.Lost, rest[0].Type)
	assert.Equal(t, uint64(10), rest[0].Pos, "5 to 14 are gone, exactly")
	assert.Zero(t, rest[0].Flags)
	assert.Equal(t, []uint64{15, 16, 17, 18, 19, 20, 21, 22, 23, 24}, positions(rest))

	_, _, rest = s.root().joinAt(5, epoch+1, 4)
	require.Equal(t, frame.Lost, rest[0].Type)
	assert.Equal(t, uint8(frame.FlagUnknown), rest[0].Flags, "a position of another epoch")
	assert.Len(t, positions(rest), 10)
}

func TestFullMemberOfAGroupWithHistoryLosesNothing(t *testing.T) {
	s := newSim(t, nil)
	s.h.tune.queue = 1000
	a, b := s.root(), s.root()
	require.Zero(t, a.history(5, 1000, 0, 0))
	b.join(5)
	for range 500 {
		a.send(frame.Header{Group: 5}, id1, "data")
	}
	var ps []uint64
	for len(ps) < 500 {
		b.take(700)
		fr := b.parse()
		require.Len(t, positions(fr), len(fr), "no losses")
		ps = append(ps, positions(fr)...)
	}
	for i, p := range ps {
		require.Equal(t, uint64(i+1), p)
	}
}

func TestOnlyOwnersAndAdministratorsSetAHistoryWithinTheirLimit(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid=[1]\nregister=[\"*\"]\n[[limit]]\nhistory_bytes=1000000\n")
	require.NoError(t, err)
	s := newSim(t, p)
	a := s.client(1)
	assert.Equal(t, connector.ErrPermission.Code(), a.history(id1.Idx, 5, 0, 0))
	a.add(id1, "mine")
	assert.Zero(t, a.history(id1.Idx, 5, 0, 0))
	assert.Equal(t, connector.ErrLimit.Code(), a.history(id1.Idx, 0, 2000000, 0))
	assert.Zero(t, a.history(id1.Idx, 0, 100000, 0))
	assert.Equal(t, connector.ErrInvalid.Code(), a.history(0, 5, 0, 0))
	assert.Equal(t, connector.ErrInvalid.Code(), a.history(id1.Idx, 1<<60, 0, 0))
	assert.Zero(t, a.history(id1.Idx, 0, 0, 0))
	assert.Zero(t, s.h.accounts[1].history)
	assert.Empty(t, s.h.groups)
}

func TestPolicyGivesGroupsAHistory(t *testing.T) {
	p, err := ParsePolicy("[[rule]]\nuid=[0]\nadmin=true\n[[history]]\ngroup=\"5-7\"\nmessages=3\nage=\"1m\"\n")
	require.NoError(t, err)
	s := newSim(t, p)
	a := s.root()
	for range 5 {
		a.send(frame.Header{Group: 6}, id1, "x")
	}
	a.none()
	_, _, rest := s.root().joinAt(6, 0, 0)
	assert.Equal(t, []uint64{3, 4, 5}, positions(rest))
	s.h.now += 61e9
	_, _, rest = s.root().joinAt(6, 0, 0)
	assert.Empty(t, positions(rest), "too old")
}

// A killed broker does nothing more: what the next one finds is what the file
// has at that moment.
func TestHistorySurvivesASuddenEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	first := newSim(t, nil)
	require.NoError(t, first.h.loadHistories(dir))
	a := first.root()
	require.Zero(t, a.history(5, 0, 300000, 0))
	const n = 3000 // the file grows several times, and wraps
	for range n {
		a.send(frame.Header{Group: 5}, id1, strings.Repeat("x", 100))
	}
	second := newSim(t, nil)
	second.h.instance = 78
	require.NoError(t, second.h.loadHistories(dir))
	last, epoch, rest := second.root().joinAt(5, 77, n-100)
	assert.Equal(t, uint64(n), last)
	assert.Equal(t, uint64(77), epoch, "the positions go on")
	ps := positions(rest)
	require.Len(t, ps, 100)
	assert.Equal(t, uint64(n), ps[99])
	_, _, rest = second.root().joinAt(5, 77, 100)
	require.Equal(t, frame.Lost, rest[0].Type)
	assert.Equal(t, uint64(n-100-len(positions(rest))), rest[0].Pos)

	b := second.root()
	b.send(frame.Header{Group: 5}, id1, "on")
	last, _, _ = second.root().joinAt(5, 77, n)
	assert.Equal(t, uint64(n+1), last)
	require.Zero(t, b.history(5, 0, 0, 0))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "a history that ends leaves no file")
}

func TestDamagedHistoryIsPutAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	first := newSim(t, nil)
	require.NoError(t, first.h.loadHistories(dir))
	a := first.root()
	require.Zero(t, a.history(5, 10, 0, 0))
	a.send(frame.Header{Group: 5}, id1, "x")
	path := filepath.Join(dir, "5.history")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range 200 {
		b := append([]byte(nil), whole...)
		if i < 100 {
			b = b[:len(b)*i/100]
		} else {
			at := (i - 100) * 8
			if at >= histStates+48 {
				at = histHead + at%64
			}
			copy(b[at:], "\xff\xff\xff\xff\xff\xff\xff\x7f")
		}
		require.NoError(t, os.WriteFile(path, b, 0o600))
		s := newSim(t, nil)
		require.NoError(t, s.h.loadHistories(dir))
		p := s.root()
		p.write(frame.Header{Type: frame.Join, Flags: frame.FlagAt, Group: 5}, frame.AppendU64s(nil, 0)...)
		require.NotEmpty(t, p.read())
	}
	_, err = os.Stat(path + ".bad")
	require.NoError(t, err)
}

func TestHistoryThatBeginsAnewHasAnotherEpoch(t *testing.T) {
	s := newSim(t, nil)
	a := s.root()
	require.Zero(t, a.history(5, 10, 0, 0))
	a.send(frame.Header{Group: 5}, id1, "old")
	require.Zero(t, a.history(5, 0, 0, 0))
	require.Zero(t, a.history(5, 10, 0, 0))
	a.send(frame.Header{Group: 5}, id1, "new")
	_, epoch, rest := s.root().joinAt(5, 77, 1)
	assert.NotEqual(t, uint64(77), epoch)
	require.Equal(t, frame.Lost, rest[0].Type)
	assert.Equal(t, uint8(frame.FlagUnknown), rest[0].Flags)
	assert.Equal(t, []uint64{1}, positions(rest))
}
