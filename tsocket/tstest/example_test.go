package tstest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// rot13 is a virtual stream: what goes through it is in the cipher of Caesar,
// which is its own inverse.
type rot13 struct {
	tsocket.Layer
	buf []byte // of the write that is running, of which there is one
}

// Rot13 returns a stream on top of lower, which belongs to it.
func Rot13(lower *tsocket.Stream) *tsocket.Stream {
	lower.SetCancelRule(tsocket.CancelLoses) // a write that was cut off can be followed by another
	return tsocket.NewStream(&rot13{tsocket.Layer{Lower: lower}, make([]byte, 0, 4096)})
}

func rotate(b []byte) {
	for i, c := range b {
		switch {
		case 'a' <= c && c <= 'z':
			b[i] = 'a' + (c-'a'+13)%26
		case 'A' <= c && c <= 'Z':
			b[i] = 'A' + (c-'A'+13)%26
		}
	}
}

func (r *rot13) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	n, err := r.Lower.ReadSome(ctx, bufs[0])
	rotate(bufs[0][:n])
	return n, tsocket.EndOfRead(err)
}

// Writev goes in pieces: who cancels it need not wait for all to be enciphered.
func (r *rot13) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	for _, b := range bufs {
		for len(b) > 0 {
			piece := append(r.buf[:0], b[:min(len(b), cap(r.buf))]...)
			rotate(piece)
			n, err := r.Lower.Writev(ctx, piece)
			if sum += n; err != nil {
				return sum, tsocket.Cause(err)
			}
			b = b[n:]
		}
	}
	return sum, nil
}

func (r *rot13) Pending() (int, error) {
	n, err := r.Lower.PendingBytes()
	return n, tsocket.Cause(err)
}

func (r *rot13) Disconnect(ctx context.Context) error {
	return tsocket.Cause(r.Lower.Disconnect(ctx))
}

func (r *rot13) CloseWrite(ctx context.Context) error {
	return tsocket.Cause(r.Lower.CloseWrite(ctx))
}

func (r *rot13) Close() error { return tsocket.Cause(r.Lower.Close()) }

// A virtual stream of one's own: rot13 above is all that there is to it.
func Example() {
	a, b := tsocket.Pipe()
	sender, receiver := Rot13(a), b
	defer sender.Close()
	defer receiver.Close()

	ctx := context.Background()
	got := make([]byte, 5)
	reading := receiver.ReadvSend(ctx, got)
	if _, err := sender.Writev(ctx, []byte("Caesar")); err != nil {
		fmt.Println(err)
	}
	n, err := reading.Wait(ctx)
	fmt.Println(n, err, string(got))
	// Output: 5 <nil> Pnrfn
}

// And this is its test.
func TestRot13(t *testing.T) {
	for name, lower := range map[string]func(t testing.TB) (a, b *tsocket.Stream){"pipe": pipe, "tcp": tcp} {
		t.Run(name, func(t *testing.T) {
			tstest.TestStreams(t, tstest.Streams{Pair: func(t testing.TB) (a, b *tsocket.Stream) {
				c, d := lower(t)
				a, b = Rot13(c), Rot13(d)
				closeLater(t, a, b)
				return a, b
			}})
		})
	}
}
