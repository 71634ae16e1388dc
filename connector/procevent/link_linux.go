package procevent

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector/nlconn"
)

// socketLink is the kernel behind a netlink socket.
type socketLink struct{ *nlconn.Socket }

// maxEvent is the room for a datagram: an event has 76 bytes, and a later kernel's may have more.
const maxEvent = 256

func dialLink(cfg *Config) (link, error) {
	s, err := nlconn.Dial(&nlconn.SocketConfig{
		Protocol:    nlconn.Connector,
		NetNS:       cfg.NetNS,
		ReadBuffer:  cfg.ReadBuffer / 2, // the kernel doubles it
		Credentials: true,
		Batch:       cfg.Batch,
		MaxDatagram: maxEvent,
	})
	if err != nil {
		return nil, err
	}
	if err := s.Join(Group); err != nil {
		s.Close()
		return nil, err
	}
	return socketLink{s}, nil
}

func (l socketLink) Send(b []byte) error { return l.Socket.Send(b, 0, 0) }

// SendOn moves its thread from CPU to CPU. A CPU that it is not let onto is
// left out. If it cannot get its old set back the thread ends with its goroutine.
func (l socketLink) SendOn(b func(cpu int) []byte) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var old unix.CPUSet
		if err := unix.SchedGetaffinity(0, &old); err != nil {
			runtime.UnlockOSThread()
			errc <- err
			return
		}
		var err error
		for cpu := range len(old) * 64 {
			if !old.IsSet(cpu) || err != nil {
				continue
			}
			var one unix.CPUSet
			one.Set(cpu)
			if unix.SchedSetaffinity(0, &one) == nil {
				err = l.Send(b(cpu))
			}
		}
		if unix.SchedSetaffinity(0, &old) == nil {
			runtime.UnlockOSThread()
		}
		errc <- err
	}()
	return <-errc
}
