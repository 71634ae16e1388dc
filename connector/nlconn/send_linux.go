package nlconn

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
)

// sendOp is one sendto. It lives in a pool with its method value, so that
// sending allocates nothing.
type sendOp struct {
	do    func(fd uintptr)
	data  []byte
	to    unix.RawSockaddrNetlink
	errno unix.Errno
}

func newSendOp() *sendOp {
	op := &sendOp{to: unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}}
	op.do = op.sendto
	return op
}

func (op *sendOp) sendto(fd uintptr) {
	for {
		_, _, op.errno = unix.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&op.data[0])), uintptr(len(op.data)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&op.to)), unix.SizeofSockaddrNetlink)
		if op.errno != unix.EINTR {
			return
		}
	}
}

// Send sends one datagram to the socket with that port id (0 is the kernel) and, if
// group is not 0, to the members of group. It never waits.
//
// A full unicast receiver is connector.ErrWouldBlock, a dead port (or no kernel
// side in this namespace) connector.ErrNoPort. Of a group nothing is told: neither that
// it is empty nor that a member was full. A message to a group always goes to
// the port too; with port 0 where no kernel listens, the refusal of
// that leg is not an error.
func (s *Socket) Send(b []byte, port, group uint32) error {
	if len(b) == 0 {
		return &connector.OpError{Op: "send", Port: port, Group: group, Err: fmt.Errorf("empty datagram: %w", connector.ErrInvalid)}
	}
	var mask uint32
	if group != 0 {
		if err := checkGroup("send", group); err != nil {
			return err
		}
		mask = 1 << (group - 1)
	}
	op := s.sends.Get().(*sendOp)
	op.data, op.to.Pid, op.to.Groups = b, port, mask
	err := s.raw.Control(op.do)
	errno := op.errno
	op.data = nil
	s.sends.Put(op)
	switch {
	case err != nil:
		return s.error("send", err)
	case errno == 0, errno == unix.ECONNREFUSED && group != 0 && port == 0:
		return nil
	}
	return &connector.OpError{Op: "send", Port: port, Group: group, Err: sendError(errno)}
}

func sendError(errno unix.Errno) error {
	switch errno {
	case unix.ECONNREFUSED:
		return connector.ErrNoPort
	case unix.EAGAIN:
		return connector.ErrWouldBlock
	case unix.EMSGSIZE:
		return connector.ErrTooBig
	case unix.EPERM:
		return fmt.Errorf("%w: sending to others needs CAP_NET_ADMIN (NETLINK_USERSOCK unicast does not): %w", connector.ErrPermission, errno)
	}
	return os.NewSyscallError("sendto", errno)
}

// HasKernel reports whether the kernel's connector is reached from the socket's
// network namespace: only from the initial one. One byte is sent, which it
// drops as too short to be a message.
func (s *Socket) HasKernel() (bool, error) {
	if s.proto != Connector {
		return false, nil
	}
	switch err := s.Send([]byte{0}, 0, 0); {
	case err == nil:
		return true, nil
	case errors.Is(err, connector.ErrNoPort):
		return false, nil
	default:
		return false, err
	}
}
