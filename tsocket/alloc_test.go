//go:build !race

package tsocket_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// TestAllocs: blocking operations allocate nothing in steady state, with and
// without a context that can end; a request is one object.
func TestAllocs(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": background, "cancellable": ctx} {
		t.Run(name, func(t *testing.T) {
			for _, p := range streamPairs {
				a, b := p.make(t)
				out, in := make([]byte, 64), make([]byte, 64)
				many := make([][]byte, 20)
				for i := range many {
					many[i] = in[i : i+1]
				}
				none(t, p.name+" writev, readv", func() {
					_, _ = a.Writev(ctx, out)
					_, _ = b.Readv(ctx, in)
				})
				none(t, p.name+" two vectors", func() {
					_, _ = a.Writev(ctx, out[:4], out[4:])
					_, _ = b.Readv(ctx, in[:8], in[8:])
				})
				none(t, p.name+" many vectors", func() {
					_, _ = a.Writev(ctx, many...)
					_, _ = b.Readv(ctx, many...)
				})
				none(t, p.name+" read some, pending bytes", func() {
					_, _ = a.Writev(ctx, out)
					_, _ = b.PendingBytes()
					_, _ = b.ReadSome(ctx, in)
				})
				none(t, p.name+" try", func() {
					_, _ = b.TryRead(in)
					_, _ = a.TryWrite(out[:4], out[4:])
					_, _ = b.Readv(ctx, in)
				})
				q := tsocket.NewQueue("q")
				none(t, p.name+" queue", func() {
					_, _ = q.Writev(ctx, a, out)
					_, _ = b.Readv(ctx, in)
				})
				pdu := []byte("\x00\x02ab")
				r := tsocket.NewPDUReader(b, tsocket.U16Size, 100)
				none(t, p.name+" pdu", func() {
					_, _ = a.Writev(ctx, pdu, pdu)
					_, _ = r.Next(ctx)
					_, _ = r.Next(ctx)
				})
				assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
					_, _ = a.WritevSend(background, out).Result()
					_, _ = b.ReadvSend(background, in).Result()
				}), 2.0, "requests that finish at once")
				assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
					r := b.ReadvSend(background, in)
					_, _ = a.Writev(background, out)
					_, _ = r.Wait(background)
				}), 1.0, "a request that waits")
			}
		})
		t.Run(name+" dgram", func(t *testing.T) {
			ua := udp(t, loopback4(t), tsocket.Addr{})
			ub := udp(t, loopback4(t), tsocket.Addr{})
			v6 := udp(t, tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)), tsocket.Addr{})
			un := unixDgram(t, socketPath(t, "d"), tsocket.Addr{})
			gro := udp(t, loopback4(t), tsocket.Addr{})
			gro.EnableGRO()
			msg, buf := make([]byte, 1200), make([]byte, 2048)
			for name, p := range map[string]struct{ from, to *tsocket.Dgram }{
				"udp": {ua, ub}, "udp6": {v6, v6}, "unix": {un, un}, "gro": {ua, gro},
			} {
				to := p.to.LocalAddr()
				none(t, name, func() {
					_, _ = p.from.SendTo(ctx, msg, to)
					_, _, _ = p.to.RecvFrom(ctx, buf)
				})
				batch := make([]tsocket.Message, 8)
				for i := range batch {
					batch[i] = tsocket.Message{Data: msg, Addr: to}
				}
				in := make([]tsocket.Message, 8)
				if name == "unix" {
					for i := range in {
						in[i].Buf = make([]byte, 2048)
					}
				}
				none(t, name+" batch", func() {
					_, _ = p.from.SendBatch(ctx, batch)
					for n := 0; n < len(batch); {
						k, err := p.to.RecvBatch(ctx, in)
						if err != nil {
							panic(err)
						}
						n += k
					}
				})
			}
		})
	}
}

// TestAllocsWaiting: neither does waiting.
func TestAllocsWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	for _, ctx := range []context.Context{background, ctx} {
		for _, p := range streamPairs {
			a, b := p.make(t)
			go func() {
				buf := make([]byte, 64)
				for {
					if _, err := b.Readv(ctx, buf); err != nil {
						return
					}
					if _, err := b.Writev(ctx, buf); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, 64)
			none(t, p.name, func() {
				_, _ = a.Writev(ctx, buf)
				_, _ = a.Readv(ctx, buf)
			})
			assert.LessOrEqual(t, testing.AllocsPerRun(200, func() {
				r := a.ReadvSend(background, buf)
				_, _ = a.Writev(ctx, buf)
				_, _ = r.Wait(background)
			}), 1.0, "a request is one object")
			require.NoError(t, a.Close())
		}
		a, b := udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{})
		go func() {
			buf := make([]byte, 64)
			for {
				n, src, err := b.RecvFrom(ctx, buf)
				if err != nil {
					return
				}
				if _, err := b.SendTo(ctx, buf[:n], src); err != nil {
					return
				}
			}
		}()
		buf, to := make([]byte, 64), b.LocalAddr()
		none(t, "udp", func() {
			_, _ = a.SendTo(ctx, buf, to)
			_, _, _ = a.RecvFrom(ctx, buf)
		})
		require.NoError(t, b.Close())
	}
}

func none(t *testing.T, what string, fn func()) {
	t.Helper()
	for range 10 {
		fn()
	}
	assert.Zero(t, testing.AllocsPerRun(200, fn), what)
}

// TestAddrAllocs: addresses are values.
func TestAddrAllocs(t *testing.T) {
	a := loopback4(t)
	var raw []byte
	none(t, "raw", func() {
		var err error
		raw, err = a.AppendRaw(raw[:0])
		require.NoError(t, err)
		b, err := tsocket.AddrFromRaw(raw)
		require.NoError(t, err)
		if a != b {
			panic("not the same")
		}
	})
}
