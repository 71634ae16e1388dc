package rxrpc

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// A Mark is the kind of a message that an interceptor gets.
type Mark uint8

// Marks: RXRPC_SKB_MARK_DATA and so on.
const (
	MarkData        Mark = iota // a piece of the request, or of the reply
	MarkFinalAck                // a server's call has succeeded
	MarkBusy                    // the server is busy (SocketConfig.BusyEnds)
	MarkRemoteAbort             // the peer has aborted the call
	MarkNetError                // the network has failed
	MarkLocalError              // this side has: time-outs, violations of the protocol, AbortCall
	MarkNewCall                 // a call waits for AcceptCall or RejectCall
)

// String returns the name in capitals: "FINAL_ACK".
func (m Mark) String() string {
	names := [...]string{"DATA", "FINAL_ACK", "BUSY", "REMOTE_ABORT", "NET_ERROR", "LOCAL_ERROR", "NEW_CALL"}
	if int(m) < len(names) {
		return names[m]
	}
	return "MARK?"
}

// An RxMessage is a message that was intercepted. It is its holder's until DataDelivered or Free.
type RxMessage struct {
	Mark Mark
	// Call is the call that the message is of; nil for MarkNewCall.
	Call *KernelCall
	// Peer is where it came from, with the service.
	Peer Addr
	// Data of MarkData; it may be empty.
	Data []byte

	x    *sockCall
	buf  *proto.Buf
	last bool
	code int32
	err  syscall.Errno
}

// InterceptRxMessages has fn called, by one goroutine and in order, with everything that Recvmsg would
// have returned; for calls of BeginParams.Notify RecvData is the way. userID is that of the call. fn may
// call the socket and the KernelService. It ends when the socket is closed. There is one interceptor, for good: EBUSY.
func (k *KernelService) InterceptRxMessages(fn func(s *Socket, userID uint64, m *RxMessage)) error {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &SocketError{Op: "intercept", Err: errSocketClosed}
	case s.tapped:
		return sockErr("intercept", syscall.EBUSY, "there is an interceptor")
	}
	s.tapped = true
	go s.intercept(fn)
	return nil
}

func (s *Socket) intercept(fn func(s *Socket, userID uint64, m *RxMessage)) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		m := s.takeMessage()
		wake := s.rx.wait()
		s.mu.Unlock()
		if m == nil {
			<-wake
			continue
		}
		fn(s, m.x.id, m)
	}
}

// takeMessage takes the first message; s.mu is held.
func (s *Socket) takeMessage() *RxMessage {
	x, i := s.next()
	if x == nil {
		return nil
	}
	s.unqueue(i)
	x.seen()
	m := &RxMessage{x: x, Peer: Addr{Service: x.service, Addr: x.peer}, Call: x.kernel}
	n, ok := x.notice()
	switch {
	case !ok:
		b, off := x.rx.pop()
		m.buf, m.Data = b, b.Bytes()[off:]
		m.last = x.rxEnd && x.rx.empty()
		x.endTold = m.last
		x.told = m.last && x.client
		s.tell(x)
		return m
	case x.announce:
		x.announce = false
		m.Mark, m.Call = MarkNewCall, nil
		return m
	}
	x.told = true
	m.code, m.err = n.Control.Code, x.result.Errno
	switch n.Control.Command {
	case CtlAck:
		m.Mark = MarkFinalAck
	case CtlBusy:
		m.Mark, m.err = MarkBusy, syscall.EBUSY
	case CtlNetError:
		m.Mark = MarkNetError
	case CtlLocalError:
		m.Mark = MarkLocalError
	default:
		if m.Mark = MarkLocalError; x.result.Completion == proto.RemotelyAborted {
			m.Mark = MarkRemoteAbort
		}
	}
	return m
}

// DataDelivered says that the data of m was used, which opens the window for more of it, and frees m.
func (k *KernelService) DataDelivered(m *RxMessage) { m.free() }

// Free frees a message.
func (k *KernelService) Free(m *RxMessage) { m.free() }

func (m *RxMessage) free() {
	b := m.buf
	if b == nil {
		return
	}
	packets := b.Packets()
	m.buf, m.Data = nil, nil
	b.Release()
	m.x.consumed(packets)
}

// IsDataLast reports whether m is the last data of the peer.
func (k *KernelService) IsDataLast(m *RxMessage) bool { return m.Mark == MarkData && m.last }

// AbortCode returns the code of a MarkRemoteAbort, and that by which this side has aborted of a MarkLocalError.
func (k *KernelService) AbortCode(m *RxMessage) int32 {
	if m.Mark == MarkRemoteAbort || m.Mark == MarkLocalError {
		return m.code
	}
	return 0
}

// ErrorNumber returns the errno of a MarkNetError or MarkLocalError; of others what they would be as an error, 0 for data.
func (k *KernelService) ErrorNumber(m *RxMessage) syscall.Errno { return m.err }
