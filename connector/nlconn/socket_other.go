//go:build !linux

package nlconn

import (
	"time"

	"golang.org/x/net/bpf"

	"github.com/cnbus/cnbus/connector"
)

// Socket is a netlink socket; only Linux has any.
type Socket struct{}

// MemInfo is what SO_MEMINFO tells of a socket's receive side.
type MemInfo struct {
	Queued uint32 // bytes of the receive buffer in use
	Buffer uint32 // its size
	Drops  uint32 // messages dropped because it was full
}

func notHere(op string) error { return &connector.OpError{Op: op, Err: connector.ErrNotSupported} }

// Dial fails with connector.ErrNotSupported.
func Dial(*SocketConfig) (*Socket, error) { return nil, notHere("dial") }

func (s *Socket) Port() uint32                      { return 0 }
func (s *Socket) Batch() int                        { return 1 }
func (s *Socket) Receive([]Datagram) (int, error)   { return 0, notHere("receive") }
func (s *Socket) SetReadDeadline(time.Time) error   { return notHere("deadline") }
func (s *Socket) Join(uint32) error                 { return notHere("join") }
func (s *Socket) Leave(uint32) error                { return notHere("leave") }
func (s *Socket) SetReadBuffer(int) (int, error)    { return 0, notHere("set read buffer") }
func (s *Socket) ReadBuffer() (int, error)          { return 0, notHere("read buffer") }
func (s *Socket) SetBPF([]bpf.RawInstruction) error { return notHere("set filter") }
func (s *Socket) Send([]byte, uint32, uint32) error { return notHere("send") }
func (s *Socket) HasKernel() (bool, error)          { return false, notHere("send") }
func (s *Socket) MemInfo() (MemInfo, error)         { return MemInfo{}, notHere("meminfo") }
func (s *Socket) Close() error                      { return nil }
