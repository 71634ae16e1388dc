package tsocket_test

import (
	"context"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// Pieces are what was sent, in order, whether the kernel put it together or not.
func TestRecvPieces(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	here := tsocket.MustAddr(tsocket.AddrFrom(netip.MustParseAddrPort("127.0.0.1:0")))
	a, err := tsocket.UDP(here, tsocket.Addr{})
	require.NoError(t, err)
	defer a.Close()
	b, err := tsocket.UDP(here, tsocket.Addr{})
	require.NoError(t, err)
	defer b.Close()
	pieces := make([]tsocket.Piece, 3)
	for i := range pieces {
		pieces[i].Buf = make([]byte, 1<<16)
	}
	_, err = b.RecvPieces(ctx, pieces)
	require.ErrorIs(t, err, syscall.EOPNOTSUPP, "before EnableGRO")
	if !b.EnableGRO() {
		return // this kernel has no UDP_GRO
	}
	_, err = b.TryRecvPieces(make([]tsocket.Piece, 1))
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = b.RecvPieces(ctx, nil)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = b.RecvPieces(ctx, make([]tsocket.Piece, 1))
	require.ErrorIs(t, err, syscall.EINVAL)

	var out []tsocket.Message
	for i, n := range []int{700, 700, 700, 100, 700, 9000, 1} {
		data := make([]byte, n)
		data[0] = byte(i)
		out = append(out, tsocket.Message{Data: data, Addr: b.LocalAddr()})
	}
	// One is taken apart by another kind of receive; the rest of its piece comes first.
	for sent := 0; sent < len(out); {
		n, err := a.SendBatch(ctx, out[sent:])
		require.NoError(t, err)
		sent += n
	}
	buf := make([]byte, 700)
	n, _, err := b.RecvFrom(ctx, buf)
	require.NoError(t, err)
	require.Equal(t, out[0].Data, buf[:n])
	tried := false
	for got := 1; got < len(out); {
		receive := func() (int, error) { return b.RecvPieces(ctx, pieces) }
		if tried = !tried; tried {
			receive = func() (int, error) { return b.TryRecvPieces(pieces) }
		}
		n, err := receive()
		if tried && err != nil {
			require.ErrorIs(t, err, tsocket.ErrAgain)
			continue
		}
		require.NoError(t, err)
		for _, p := range pieces[:n] {
			require.Equal(t, a.LocalAddr(), p.Addr)
			for data := p.Data; len(data) > 0; got++ {
				k := min(p.Size, len(data))
				require.Equal(t, out[got].Data, data[:k])
				data = data[k:]
			}
		}
	}
	_, err = b.TryRecvPieces(pieces)
	require.ErrorIs(t, err, tsocket.ErrAgain)
	require.NoError(t, a.Close())
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	_, err = b.RecvPieces(short, pieces)
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	require.NoError(t, b.Close())
	_, err = b.TryRecvPieces(pieces)
	require.ErrorIs(t, err, tsocket.ErrClosed)
}
