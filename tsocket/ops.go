package tsocket

import "context"

// StreamOps is what a kind of stream has to provide; NewStream makes a Stream of
// it, which adds every rule that all streams share. A Stream calls at most one ReadSome, one
// Writev and one Disconnect at a time, each from any goroutine; Close and Pending may come
// at any moment, also while the others run.
//
// When ctx ends, a call returns what it has moved and an error for which
// errors.Is(err, ctx.Err()) holds; nothing is lost, and the call can be made
// again. Any other error is final: the Stream remembers it and calls no more. An
// error should be, or wrap, a syscall.Errno: what has none counts as EIO.
type StreamOps interface {
	// ReadSome reads at least one byte into bufs, whose sum is not 0, without
	// waiting for more than is there. At the end of the stream it returns 0 and
	// io.EOF. It neither changes bufs nor keeps them or their bytes.
	ReadSome(ctx context.Context, bufs [][]byte) (int, error)

	// Writev writes all of bufs, whose sum is not 0, and returns how much of
	// it was written, which with an error may be less. It neither changes bufs nor
	// keeps them or their bytes.
	Writev(ctx context.Context, bufs [][]byte) (int64, error)

	// Pending returns how many bytes could be read without waiting. It returns an
	// error instead of 0 when there will be no more, or the connection is broken.
	Pending() (int, error)

	// Disconnect ends the connection in the orderly way of its kind and frees
	// its resources. It is not called while a read or a write is running.
	Disconnect(ctx context.Context) error

	// Close frees all resources at once and wakes every call that is running,
	// which then fails with any error. It is called once at most, perhaps during
	// a Disconnect.
	Close() error
}

// TryStreamOps is for streams that can read and write without waiting. The
// request face uses it to do without a goroutine.
type TryStreamOps interface {
	StreamOps
	// TryRead is ReadSome that returns ErrAgain where it would wait.
	TryRead(bufs [][]byte) (int, error)
	// TryWrite writes as much as can be written without waiting, at least one
	// byte, or returns ErrAgain.
	TryWrite(bufs [][]byte) (int, error)
}

// MonitorOps is for streams that learn that the connection broke without an
// operation of theirs.
type MonitorOps interface {
	StreamOps
	// Monitor has broken called once, on any goroutine and soon, when the
	// connection is broken or the peer has ended it; at once if it is so already. stop takes that
	// back; broken may still be running then.
	Monitor(broken func(error)) (stop func(), err error)
}

// CloseWriteOps is for streams whose writing side can be ended alone.
type CloseWriteOps interface {
	StreamOps
	// CloseWrite tells the peer that nothing more will be written. It is not
	// called while a write is running.
	CloseWrite(ctx context.Context) error
}

// HalfOpenOps is for streams whose waiting writes end when the peer has finished
// writing, unless Stream.SetHalfOpen is on.
type HalfOpenOps interface {
	StreamOps
	// SetHalfOpen is called by Stream.SetHalfOpen. It is off at first.
	SetHalfOpen(on bool)
}

// PeerCredOps is for streams that know who their peer is.
type PeerCredOps interface {
	StreamOps
	// PeerCred returns the credentials of the peer as the kernel gave them.
	PeerCred() (Cred, error)
}

// AddrOps is for streams and datagram sockets that have addresses.
type AddrOps interface {
	// LocalAddr returns the address that the socket is bound to.
	LocalAddr() Addr
	// RemoteAddr returns the peer's address; the zero Addr where there is no peer.
	RemoteAddr() Addr
}

// DgramOps is what a kind of datagram socket has to provide; NewDgram makes a
// Dgram of it, which adds every rule that all of them share. At most one RecvFrom (or
// RecvBatch), one SendTo (or SendBatch) and one Disconnect are called at a time; Close may come
// at any moment. What StreamOps says about ctx and errors holds here too, but that an error
// is not final: the next call is made as if it had not been.
type DgramOps interface {
	// RecvFrom returns the next datagram, whole, and its source. Where it fits
	// it may be in b; otherwise it is in memory of the socket, which is valid until
	// the next receive. A datagram without data is one too.
	RecvFrom(ctx context.Context, b []byte) (data []byte, src Addr, err error)

	// SendTo sends b, which is not empty, to dst; to the peer that the socket is
	// connected to if dst is the zero Addr.
	SendTo(ctx context.Context, b []byte, dst Addr) error

	// Disconnect frees the resources of the socket. It is not called while
	// another call is running.
	Disconnect(ctx context.Context) error

	// Close frees all resources at once and wakes every call that is running,
	// which then fails with any error. It is called once at most, perhaps during
	// a Disconnect.
	Close() error
}

// TryDgramOps is for datagram sockets that can receive and send without waiting.
type TryDgramOps interface {
	DgramOps
	// TryRecvFrom is RecvFrom that returns ErrAgain where it would wait.
	TryRecvFrom(b []byte) (data []byte, src Addr, err error)
	// TrySendTo is SendTo that returns ErrAgain where it would wait.
	TrySendTo(b []byte, dst Addr) error
}

// BatchOps is for datagram sockets that move many datagrams at once. For others
// a Dgram makes batches of single calls, with the same outcome.
type BatchOps interface {
	DgramOps
	// RecvBatch receives at least one datagram into msgs, which is not empty,
	// and as many more as are there. See Message for where the data is.
	RecvBatch(ctx context.Context, msgs []Message) (int, error)
	// SendBatch sends msgs in order and returns how many were sent. None of
	// them is empty. An error is that of the one after these.
	SendBatch(ctx context.Context, msgs []Message) (int, error)
}

// TryBatchOps is for datagram sockets that can move batches without waiting.
type TryBatchOps interface {
	BatchOps
	// TryRecvBatch is RecvBatch that returns ErrAgain where it would wait.
	TryRecvBatch(msgs []Message) (int, error)
	// TrySendBatch is SendBatch that returns ErrAgain where it would wait; the
	// number tells how many were sent before.
	TrySendBatch(msgs []Message) (int, error)
}

// NoticeOps is for datagram sockets that are told what became of datagrams that
// did not arrive.
type NoticeOps interface {
	DgramOps
	// SetNotices says whether receives return a *Notice for each, once; they
	// return none unless it was called.
	SetNotices(on bool) error
	// Notices returns what SetNotices has set.
	Notices() (bool, error)
}

// PushOps is for datagram sockets that can hand over what comes, where it comes, instead of having it fetched: who wants it all
// at once is spared a copy and another goroutine's turn.
type PushOps interface {
	DgramOps
	// Push has take called, from now on, with the datagrams that come, in order, by one goroutine at a time; they are valid until
	// it returns. Or with an error that came between them; over says that nothing will come after it. take must come back
	// soon, and must not close the socket. After Close it is not called, nor running. Push reports false, and does nothing, if this
	// socket cannot; receives get nothing after true.
	Push(take func(msgs []Message, err error, over bool)) bool
}
