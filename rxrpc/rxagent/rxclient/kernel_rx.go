package rxclient

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// An RxMessage is a message that was intercepted. Its data are its holder's; the window of its call opens when it is delivered.
type RxMessage struct {
	Mark rxrpc.Mark
	// Call is the call that the message is of; nil for rxrpc.MarkNewCall.
	Call *KernelCall
	// Peer is where it came from, with the service.
	Peer rxrpc.Addr
	// Data of rxrpc.MarkData; it may be empty.
	Data []byte

	s      *Socket
	id     uint64
	handle uint32
	last   bool
	code   int32
	err    syscall.Errno
}

// An interceptor gets what Recvmsg would.
type interceptor struct {
	fn    func(s *Socket, userID uint64, m *RxMessage)
	queue []*RxMessage // the windows of the calls bound it
	more  gate
}

// InterceptRxMessages has fn called, by one goroutine and in order, with everything that Recvmsg would
// have returned: see rxrpc.KernelService.InterceptRxMessages.
func (k *KernelService) InterceptRxMessages(fn func(s *Socket, userID uint64, m *RxMessage)) error {
	s := k.s
	s.mu.Lock()
	switch {
	case s.dead("intercept") != nil:
		defer s.mu.Unlock()
		return s.dead("intercept")
	case s.tap != nil:
		defer s.mu.Unlock()
		return s.errno("intercept", syscall.EBUSY, "there is an interceptor")
	}
	tap := &interceptor{fn: fn}
	s.tap = tap
	s.mu.Unlock()
	if err := s.do("intercept", rxmsg.Header{Op: rxmsg.OpIntercept}, nil); err != nil {
		s.mu.Lock()
		s.tap = nil // Recvmsg has what comes, and who asks again may be luckier
		s.mu.Unlock()
		return err
	}
	go s.intercept(tap)
	return nil
}

func (s *Socket) intercept(tap *interceptor) {
	for {
		s.mu.Lock()
		if s.closed || s.down != nil && len(tap.queue) == 0 {
			s.mu.Unlock()
			return
		}
		if len(tap.queue) == 0 {
			wake := tap.more.wait()
			s.mu.Unlock()
			<-wake
			continue
		}
		m := tap.queue[0]
		tap.queue[0] = nil
		tap.queue = tap.queue[1:]
		s.mu.Unlock()
		tap.fn(s, m.id, m)
	}
}

// intercepted takes in what an interceptor, or RecvData, is to get.
func (s *Socket) intercepted(id uint64, body []byte) error {
	r, err := rxmsg.ParseRx(body)
	if err != nil {
		return err
	}
	m := &RxMessage{Mark: r.Mark, s: s, id: id, handle: r.Handle, last: r.Last, code: r.Code, err: r.Errno}
	if len(r.Name) > 0 {
		if m.Peer, err = rxrpc.ParseAddr(r.Name, 6); err != nil {
			return err
		}
	}
	m.Data = append([]byte(nil), r.Data...)
	s.mu.Lock()
	x := s.tags[id]
	if x != nil && m.Mark != rxrpc.MarkNewCall {
		x.charge = false
		x.peer = m.Peer
		m.Call = x.kernel
		if m.Mark != rxrpc.MarkData {
			x.over, x.fail = true, m.failure()
			x.tx.open()
		}
	}
	if m.Call == nil || m.Call.notify == nil {
		if s.tap != nil {
			s.tap.queue = append(s.tap.queue, m)
			s.tap.more.open()
		}
		s.mu.Unlock()
		return nil
	}
	if m.Mark == rxrpc.MarkData {
		if len(m.Data) > 0 {
			x.addHandled(m.Data, m.handle)
		}
		x.any = true
		if x.flags = rxrpc.MsgMore; m.last {
			x.flags = 0
		}
	}
	s.mu.Unlock()
	m.Call.notify(m.Call)
	return nil
}

// failure is the error that a message about a call's end tells; nil for success.
func (m *RxMessage) failure() error {
	switch m.Mark {
	case rxrpc.MarkRemoteAbort:
		return &rxrpc.AbortError{Code: m.code, Remote: true, Errno: m.err}
	case rxrpc.MarkBusy:
		return &refusal{m.err, "the server is busy: " + m.err.Error()}
	case rxrpc.MarkNetError:
		return &rxrpc.NetError{Errno: m.err}
	case rxrpc.MarkLocalError:
		if m.code != 0 {
			return &rxrpc.AbortError{Code: m.code, Errno: m.err}
		}
		return &rxrpc.NetError{Errno: m.err, Local: true}
	}
	return nil
}

// DataDelivered says that the data of m was used, which opens the window for more of it, and frees m.
func (k *KernelService) DataDelivered(m *RxMessage) { k.free(m) }

// Free frees a message.
func (k *KernelService) Free(m *RxMessage) { k.free(m) }

func (k *KernelService) free(m *RxMessage) {
	s := k.s
	s.mu.Lock()
	handle := m.handle
	m.handle, m.Data = 0, nil
	dead := s.dead("free") != nil
	s.mu.Unlock()
	if handle == 0 || dead {
		return
	}
	h := rxmsg.Header{Op: rxmsg.OpDataDelivered, Flags: rxmsg.FlagNoReply, Sock: s.number, Arg: uint64(handle)}
	if err := s.c.post(s.c.ctx, s.number, h.Append(nil)); err != nil {
		s.fail(s.c.busError(err))
	}
}

// IsDataLast reports whether m is the last data of the peer.
func (k *KernelService) IsDataLast(m *RxMessage) bool { return m.Mark == rxrpc.MarkData && m.last }

// AbortCode returns the code of a rxrpc.MarkRemoteAbort, and that by which this side has aborted of a rxrpc.MarkLocalError.
func (k *KernelService) AbortCode(m *RxMessage) int32 {
	if m.Mark == rxrpc.MarkRemoteAbort || m.Mark == rxrpc.MarkLocalError {
		return m.code
	}
	return 0
}

// ErrorNumber returns the errno of a rxrpc.MarkNetError or rxrpc.MarkLocalError; of others what they would be as an error, 0 for data.
func (k *KernelService) ErrorNumber(m *RxMessage) syscall.Errno { return m.err }
