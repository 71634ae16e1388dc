// Package tstest checks that a kind of stream or datagram socket keeps every
// rule that package tsocket promises: which error comes first, one outstanding operation per
// direction, sticky errors, what cancelling leaves behind, that Close completes whoever waits, that no
// callback runs inside the ...Send that made its request, that nothing leaks. TestStreams and TestDgrams
// run on each implementation of this project; they are for yours too.
//
// # A virtual socket of one's own
//
// A stream is a tsocket.StreamOps given to tsocket.NewStream:
//
//	type rot13 struct{ tsocket.Layer }
//
//	func (r rot13) ReadSome(ctx context.Context, bufs [][]byte) (int, error) { ... }
//	func (r rot13) Writev(ctx context.Context, bufs [][]byte) (int64, error) { ... }
//	func (r rot13) Pending() (int, error) { ... }
//	func (r rot13) Disconnect(ctx context.Context) error { ... }
//	func (r rot13) Close() error { return r.Lower.Close() }
//
//	func Wrap(s *tsocket.Stream) *tsocket.Stream { return tsocket.NewStream(rot13{tsocket.Layer{Lower: s}}) }
//
// The example of this package is the whole program. What is left to the
// implementation are five calls, all of them blocking:
//
//   - ReadSome waits for the first byte only. When it returns 0 bytes it returns an
//     error: io.EOF is the end, the error of ctx says that ctx has ended and that the call can be
//     made again, anything else is final and becomes the error of the stream. Errors of a lower
//     stream are passed on without its name: tsocket.EndOfRead, tsocket.Cause.
//   - Writev writes everything, or tells how much went. What it counts has gone,
//     as far as the caller is concerned: it must reach the peer without another call.
//     It looks at ctx from time to time, also where it never waits.
//   - Pending counts what ReadSome would return without waiting.
//   - Disconnect says goodbye and frees everything. After an error of the stream it
//     frees everything too, and returns nil.
//   - Close frees everything at once. Calls that are running return with any error.
//
// They must not call back into the Stream that they are the ops of. Whoever builds on another
// stream embeds tsocket.Layer, which also passes on SetHalfOpen, SetFailEarly and
// Monitor, and sets the lower stream's SetCancelRule to CancelLoses where it goes on after a lower
// write that was cut off. Optional interfaces: tsocket.CloseWriteOps, MonitorOps, AddrOps, and
// TryStreamOps, which saves the goroutine of a request.
//
// A test is then
//
//	func TestRot13(t *testing.T) {
//		tstest.TestStreams(t, tstest.Streams{Pair: func(t testing.TB) (a, b *tsocket.Stream) {
//			c, d := tsocket.Pipe()
//			a, b = Wrap(c), Wrap(d)
//			t.Cleanup(func() { _, _ = a.Close(), b.Close() })
//			return a, b
//		}})
//	}
//
// Datagram sockets are made of a tsocket.DgramOps in the same way.
package tstest
