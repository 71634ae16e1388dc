package tsocket_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

const text = "\x00\x00\x00\x07seven!!\x00\x00\x00\x01x\x00\x00\x00\x05five."

// readings are the ways to read the 24 bytes of text; each returns what it got.
var readings = map[string]func(ctx context.Context, s *tsocket.Stream) (string, error){
	"readv": func(ctx context.Context, s *tsocket.Stream) (string, error) {
		v := [][]byte{make([]byte, 1), nil, make([]byte, 5), make([]byte, len(text)-6)}
		n, err := s.Readv(ctx, v...)
		return (string(v[0]) + string(v[2]) + string(v[3]))[:n], err
	},
	"readv_send": func(ctx context.Context, s *tsocket.Stream) (string, error) {
		b := make([]byte, len(text))
		n, err := s.ReadvSend(ctx, b).Wait(background)
		return string(b[:n]), err
	},
	"readv_send callback": func(ctx context.Context, s *tsocket.Stream) (string, error) {
		b := make([]byte, len(text))
		done := make(chan struct{})
		r := s.ReadvSend(ctx, b)
		r.OnDone(func(*tsocket.Request[int64]) { close(done) })
		<-done
		n, err := r.Result()
		return string(b[:n]), err
	},
	"read some": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for len(got) < len(text) {
			b := make([]byte, len(text)-len(got))
			n, err := s.ReadSome(ctx, b)
			if err != nil {
				return got, err
			}
			got += string(b[:n])
		}
		return got, nil
	},
	"read some_send": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for len(got) < len(text) {
			b := make([]byte, len(text)-len(got))
			n, err := s.ReadSomeSend(ctx, b).Wait(background)
			if err != nil {
				return got, err
			}
			got += string(b[:n])
		}
		return got, nil
	},
	"pdu": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for range 3 {
			v := u32Vector{}
			if _, err := s.ReadPDU(ctx, v.next); err != nil {
				return got, err
			}
			got += string(v.header) + string(v.body)
		}
		return got, nil
	},
	"pdu_send": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for range 3 {
			v := u32Vector{}
			if _, err := s.ReadPDUSend(ctx, v.next).Wait(background); err != nil {
				return got, err
			}
			got += string(v.header) + string(v.body)
		}
		return got, nil
	},
	"reader": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		r := tsocket.NewPDUReader(s, tsocket.U32Size, 100)
		for range 3 {
			pdu, err := r.Next(ctx)
			if err != nil {
				return got, err
			}
			got += string(pdu)
		}
		return got, nil
	},
	"reader_send": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		r := tsocket.NewPDUReader(s, tsocket.U32Size, 100)
		for range 3 {
			pdu, err := r.NextSend(ctx).Wait(background)
			if err != nil {
				return got, err
			}
			got += string(pdu)
		}
		return got, nil
	},
	"blob": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for range 3 {
			pdu, err := tsocket.ReadBlob(ctx, s, 1, tsocket.U32Full, 100)
			if err != nil {
				return got, err
			}
			got += string(pdu)
		}
		return got, nil
	},
	"blob_send": func(ctx context.Context, s *tsocket.Stream) (got string, err error) {
		for range 3 {
			pdu, err := tsocket.ReadU32PDUSend(ctx, s, 100).Wait(background)
			if err != nil {
				return got, err
			}
			got += string(pdu)
		}
		return got, nil
	},
}

// eachKind runs a test with streams that can try and with those that cannot.
func eachKind(t *testing.T, test func(t *testing.T, wrap func(*scriptOps) *tsocket.Stream)) {
	t.Run("try", func(t *testing.T) {
		test(t, func(s *scriptOps) *tsocket.Stream { return tsocket.NewStream(s) })
	})
	t.Run("plain", func(t *testing.T) {
		test(t, func(s *scriptOps) *tsocket.Stream { return tsocket.NewStream(plainOps{s}) })
	})
}

// TestReadSplit reads in pieces of every size, and with a wait at every byte.
func TestReadSplit(t *testing.T) {
	eachKind(t, func(t *testing.T, wrap func(*scriptOps) *tsocket.Stream) {
		for name, read := range readings {
			for piece := 1; piece <= len(text); piece++ {
				ops := newScript(text + "rest")
				ops.piece = piece
				s := wrap(ops)
				got, err := read(background, s)
				require.NoError(t, err, name)
				require.Equal(t, text, got, "%s in pieces of %d", name, piece)
				require.Equal(t, "rest", string(readAll(t, s, 4)), name)
			}
			for at := range len(text) {
				ops := newScript(text)
				ops.limit = at
				done := make(chan string, 1)
				go func() {
					got, err := read(background, wrap(ops))
					done <- fmt.Sprint(got, err)
				}()
				<-ops.waiting
				ops.change(func() { ops.limit = len(ops.in) })
				require.Equal(t, text+"<nil>", <-done, "%s waiting at %d", name, at)
			}
		}
	})
}

// TestReadEnd ends the stream at every byte.
func TestReadEnd(t *testing.T) {
	boundaries := map[int]bool{0: true, 11: true, 16: true}
	eachKind(t, func(t *testing.T, wrap func(*scriptOps) *tsocket.Stream) {
		for name, read := range readings {
			for at := range len(text) {
				ops := newScript(text[:at])
				ops.end = true
				s := wrap(ops)
				_, err := read(background, s)
				whole := at == 0 || strings.HasPrefix(name, "read some") || boundaries[at] && !strings.HasPrefix(name, "readv")
				if whole {
					require.ErrorIs(t, err, tsocket.ErrEOF, "%s ends at %d", name, at)
				} else {
					require.ErrorIs(t, err, tsocket.ErrUnexpectedEOF, "%s ends at %d", name, at)
				}
				_, again := s.Writev(background, []byte("x"))
				require.Error(t, again)
			}
		}
	})
}

// TestReadCancel cancels at every byte, by the context of the call, with every
// rule.
func TestReadCancel(t *testing.T) {
	for _, rule := range []tsocket.CancelRule{tsocket.CancelPoisons, tsocket.CancelRestores, tsocket.CancelLoses} {
		eachKind(t, func(t *testing.T, wrap func(*scriptOps) *tsocket.Stream) {
			for name, read := range readings {
				for at := range len(text) {
					ops := newScript(text + "rest")
					ops.limit = at
					s := wrap(ops)
					require.Equal(t, tsocket.CancelPoisons, s.SetCancelRule(rule))
					ctx, cancel := context.WithCancel(background)
					type outcome struct {
						got string
						err error
					}
					done := make(chan outcome, 1)
					go func() {
						got, err := read(ctx, s)
						done <- outcome{got, err}
					}()
					<-ops.waiting
					cancel()
					o := <-done
					where := fmt.Sprintf("%s cancelled at %d, rule %d", name, at, rule)
					require.ErrorIs(t, o.err, tsocket.ErrCanceled, where)
					ops.change(func() { ops.limit = len(ops.in) })
					checkCancelled(t, s, name, at, rule, o.got, o.err, where)
				}
			}
		})
	}
}

func checkCancelled(t *testing.T, s *tsocket.Stream, name string, at int, rule tsocket.CancelRule, got string, err error, where string) {
	var oe *tsocket.OpError
	require.ErrorAs(t, err, &oe)
	b := make([]byte, len(text)+4)
	keeps := strings.HasPrefix(name, "read some") || strings.HasPrefix(name, "reader") || strings.HasPrefix(name, "blob")
	restores := rule == tsocket.CancelRestores && strings.HasPrefix(name, "readv")
	halfDone := at
	if strings.HasPrefix(name, "pdu") {
		starts := []int{0, 11, 16}
		for _, start := range starts {
			if at >= start {
				halfDone = at - start
			}
		}
		// The vectors that are full cannot be put back.
		if rule == tsocket.CancelRestores && halfDone < 4 {
			restores = true
		}
	}
	switch {
	case keeps || restores || halfDone == 0:
		require.Zero(t, oe.N, where)
		require.False(t, oe.Poisoned, where)
		rest := len(b) - len(got)
		if restores && !keeps && !strings.HasPrefix(name, "pdu") {
			rest = len(b)
			got = ""
		}
		require.Equal(t, (text + "rest")[len(got):], string(readAll(t, s, rest)), where)
	case rule == tsocket.CancelLoses:
		require.EqualValues(t, halfDone, oe.N, where)
		require.False(t, oe.Poisoned, where)
		require.Equal(t, (text + "rest")[at:], string(readAll(t, s, len(b)-at)), where)
	default:
		require.True(t, oe.Poisoned, where)
		_, err = s.Readv(background, b)
		require.ErrorIs(t, err, tsocket.ErrPoisoned, where)
		_, err = s.Writev(background, b)
		require.NoError(t, err, "the other direction lives on")
	}
}

// TestWriteSplit writes in pieces of every size, with a wait at every byte, and
// cancels there.
func TestWriteSplit(t *testing.T) {
	vectors := [][]byte{[]byte(text[:1]), nil, []byte(text[1:9]), []byte(text[9:])}
	writings := map[string]func(ctx context.Context, s *tsocket.Stream) (int64, error){
		"writev": func(ctx context.Context, s *tsocket.Stream) (int64, error) { return s.Writev(ctx, vectors...) },
		"writev_send": func(ctx context.Context, s *tsocket.Stream) (int64, error) {
			return s.WritevSend(ctx, vectors...).Wait(background)
		},
		"queue": func(ctx context.Context, s *tsocket.Stream) (int64, error) {
			return tsocket.NewQueue("q").WritevSend(ctx, s, vectors...).Wait(background)
		},
	}
	type outcome struct {
		n   int64
		err error
	}
	eachKind(t, func(t *testing.T, wrap func(*scriptOps) *tsocket.Stream) {
		for name, write := range writings {
			for piece := 1; piece <= len(text); piece++ {
				ops := newScript("")
				ops.piece = piece
				n, err := write(background, wrap(ops))
				require.NoError(t, err)
				require.EqualValues(t, len(text), n)
				require.Equal(t, text, string(ops.out), "%s in pieces of %d", name, piece)
			}
			for at := range len(text) {
				for _, rule := range []tsocket.CancelRule{-1, tsocket.CancelPoisons, tsocket.CancelRestores, tsocket.CancelLoses} {
					ops := newScript("")
					ops.room = at
					s := wrap(ops)
					s.SetCancelRule(max(rule, 0))
					ctx, cancel := context.WithCancel(background)
					done := make(chan outcome, 1)
					go func() {
						n, err := write(ctx, s)
						done <- outcome{n, err}
					}()
					<-ops.waiting
					where := fmt.Sprintf("%s at %d, rule %d", name, at, rule)
					if rule == -1 { // no cancelling
						ops.change(func() { ops.room = 1 << 20 })
						o := <-done
						require.NoError(t, o.err, where)
						require.Equal(t, text, string(ops.out), where)
						cancel()
						continue
					}
					cancel()
					o := <-done
					require.ErrorIs(t, o.err, tsocket.ErrCanceled, where)
					require.EqualValues(t, at, o.n, where)
					require.Equal(t, text[:at], string(ops.out), where)
					var oe *tsocket.OpError
					require.ErrorAs(t, o.err, &oe)
					poisoned := at > 0 && rule != tsocket.CancelLoses
					assert.Equal(t, poisoned, oe.Poisoned, where)
					ops.change(func() { ops.room = 1 << 20 })
					_, err := s.Writev(background, []byte("x"))
					if poisoned {
						require.ErrorIs(t, err, tsocket.ErrPoisoned, where)
					} else {
						require.NoError(t, err, where)
					}
				}
			}
		}
	})
}
