// Package facetest tests the faces of RxRPC: clients and servers, AF_RXRPC's sockets, and the kernel's interface. The same tests run on endpoints of the
// process and on those that an agent behind a bus has.
package facetest

import (
	"context"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Faces make what is tested. What they make is closed at the end of the test.
type Faces interface {
	// Open makes an endpoint, as rxrpc.Open.
	Open(t testing.TB, local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error)
	// NewSocket makes a socket, as rxrpc.NewSocket. Of cfg Keys and BusyEnds count.
	NewSocket(t testing.TB, family int, cfg *rxrpc.SocketConfig) (Socket, error)
	// Security has endpoints that are opened after it find keys, and says how their clients and servers name them.
	Security(t testing.TB, keys rxrpc.KeySource) Security
	// NewKernel returns the kernel's interface on a socket of these faces, as rxrpc.NewKernelService.
	NewKernel(s Socket) Kernel
}

// A Security names keys of some faces.
type Security interface {
	Client(description string, level rxkad.Level) rxrpc.ClientSecurity
	Server(ring string) []rxrpc.ServerSecurity
}

// A Socket is what *rxrpc.Socket can.
type Socket interface {
	Bind(a rxrpc.Addr) error
	Connect(a rxrpc.Addr) error
	Listen(backlog int) error
	Shutdown(how int) error
	Close() error
	Reject() error
	Getsockname() rxrpc.Addr
	SetOption(level, option int, value []byte) error
	GetOption(level, option int, value []byte) (int, error)
	SetSecurityKey(description string) error
	SetSecurityKeyring(description string) error
	SetExclusive() error
	SetMinSecurityLevel(level uint32) error
	SetUpgradeable(from, to uint16) error
	Sendmsg(ctx context.Context, m rxrpc.Msg) (int, error)
	Recvmsg(ctx context.Context, p []byte, flags rxrpc.MsgFlags) (rxrpc.Msg, error)
	SendmsgRaw(ctx context.Context, name, control, data []byte, flags rxrpc.MsgFlags) (int, error)
	RecvmsgRaw(ctx context.Context, name, control, data []byte, flags rxrpc.MsgFlags) (rxrpc.RawMsg, error)
	Poll() rxrpc.PollEvents
	Changed() <-chan struct{}
	Wait(ctx context.Context, want rxrpc.PollEvents) (rxrpc.PollEvents, error)
}

var _ Socket = (*rxrpc.Socket)(nil)

// A T is a test of some faces.
type T struct {
	*testing.T
	f Faces
}

// Run runs a subtest.
func (t *T) Run(name string, f func(t *T)) bool {
	return t.T.Run(name, func(tt *testing.T) { f(&T{tt, t.f}) })
}

// NewSocket makes a socket.
func (t *T) NewSocket(family int, cfg *rxrpc.SocketConfig) (Socket, error) {
	return t.f.NewSocket(t.T, family, cfg)
}

// A Suite is tests of one face.
type Suite []test

type test struct {
	name string
	run  func(t *T)
}

// Run runs the tests of the suite but those whose names are in without.
func (s Suite) Run(t *testing.T, f Faces, without ...string) {
	skip := make(map[string]bool)
	for _, n := range without {
		skip[n] = true
	}
	for _, x := range s {
		if !skip[x.name] {
			t.Run(x.name, func(t *testing.T) { x.run(&T{t, f}) })
		}
	}
}

// A Kernel is what *rxrpc.KernelService can.
type Kernel interface {
	Socket() Socket
	InterceptRxMessages(fn func(s Socket, userID uint64, m *RxMessage)) error
	BeginCall(ctx context.Context, p BeginParams) (KernelCall, error)
	EndCall(c KernelCall)
	SendData(ctx context.Context, c KernelCall, data []byte, more bool) (int, error)
	AbortCall(c KernelCall, code int32) bool
	SetTxLength(c KernelCall, n int64) error
	CheckLife(c KernelCall) bool
	SRTT(c KernelCall) (time.Duration, bool)
	AcceptCall(userID uint64) (KernelCall, error)
	RejectCall() error
	ChargeAccept(userID uint64, notify func()) (KernelCall, error)
	RecvData(c KernelCall, p []byte, wantMore bool) (n, status int, err error)
	DataDelivered(m *RxMessage)
	Free(m *RxMessage)
	IsDataLast(m *RxMessage) bool
	AbortCode(m *RxMessage) int32
	ErrorNumber(m *RxMessage) syscall.Errno
}

// A KernelCall is a pointer to a call of a Kernel.
type KernelCall interface {
	UserID() uint64
	Peer() rxrpc.Addr
}

// An RxMessage is what an interceptor of a Kernel gets; Raw is its own.
type RxMessage struct {
	Mark rxrpc.Mark
	Call KernelCall // nil: of none
	Peer rxrpc.Addr
	Data []byte
	Raw  any
}

// BeginParams are those of rxrpc.BeginParams that the tests use.
type BeginParams struct {
	UserID      uint64
	Peer        rxrpc.Addr
	NoKey       bool
	TxLength    int64
	HasTxLength bool
	Notify      func()
}
