package rxrpc_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
)

func TestKernels(t *testing.T) { facetest.Kernels.Run(t, direct{}) }

func (direct) NewKernel(s facetest.Socket) facetest.Kernel {
	return directKernel{rxrpc.NewKernelService(s.(*rxrpc.Socket))}
}

// directKernel is *rxrpc.KernelService as the tests have it.
type directKernel struct{ k *rxrpc.KernelService }

func rxCall(c facetest.KernelCall) *rxrpc.KernelCall   { return c.(*rxrpc.KernelCall) }
func rxMessage(m *facetest.RxMessage) *rxrpc.RxMessage { return m.Raw.(*rxrpc.RxMessage) }

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil(c *rxrpc.KernelCall, err error) (facetest.KernelCall, error) {
	if c == nil {
		return nil, err
	}
	return c, err
}

func told(notify func()) func(*rxrpc.KernelCall) {
	if notify == nil {
		return nil
	}
	return func(*rxrpc.KernelCall) { notify() }
}

func (d directKernel) Socket() facetest.Socket { return d.k.Socket() }

func (d directKernel) InterceptRxMessages(fn func(facetest.Socket, uint64, *facetest.RxMessage)) error {
	return d.k.InterceptRxMessages(func(s *rxrpc.Socket, id uint64, m *rxrpc.RxMessage) {
		c, _ := orNil(m.Call, nil)
		fn(s, id, &facetest.RxMessage{Mark: m.Mark, Call: c, Peer: m.Peer, Data: m.Data, Raw: m})
	})
}

func (d directKernel) BeginCall(ctx context.Context, p facetest.BeginParams) (facetest.KernelCall, error) {
	q := rxrpc.BeginParams{UserID: p.UserID, Peer: p.Peer, TxLength: p.TxLength, HasTxLength: p.HasTxLength, Notify: told(p.Notify)}
	if p.NoKey {
		q.Key = rxrpc.NullKey("example.org")
	}
	return orNil(d.k.BeginCall(ctx, q))
}

func (d directKernel) EndCall(c facetest.KernelCall) { d.k.EndCall(rxCall(c)) }

func (d directKernel) SendData(ctx context.Context, c facetest.KernelCall, data []byte, more bool) (int, error) {
	return d.k.SendData(ctx, rxCall(c), data, more)
}

func (d directKernel) AbortCall(c facetest.KernelCall, code int32) bool {
	return d.k.AbortCall(rxCall(c), code)
}

func (d directKernel) SetTxLength(c facetest.KernelCall, n int64) error {
	return d.k.SetTxLength(rxCall(c), n)
}

func (d directKernel) CheckLife(c facetest.KernelCall) bool { return d.k.CheckLife(rxCall(c)) }

func (d directKernel) SRTT(c facetest.KernelCall) (time.Duration, bool) { return d.k.SRTT(rxCall(c)) }

func (d directKernel) AcceptCall(id uint64) (facetest.KernelCall, error) {
	return orNil(d.k.AcceptCall(id))
}

func (d directKernel) RejectCall() error { return d.k.RejectCall() }

func (d directKernel) ChargeAccept(id uint64, notify func()) (facetest.KernelCall, error) {
	return orNil(d.k.ChargeAccept(id, told(notify)))
}

func (d directKernel) RecvData(c facetest.KernelCall, p []byte, wantMore bool) (n, status int, err error) {
	return d.k.RecvData(rxCall(c), p, wantMore)
}

func (d directKernel) DataDelivered(m *facetest.RxMessage)   { d.k.DataDelivered(rxMessage(m)) }
func (d directKernel) Free(m *facetest.RxMessage)            { d.k.Free(rxMessage(m)) }
func (d directKernel) IsDataLast(m *facetest.RxMessage) bool { return d.k.IsDataLast(rxMessage(m)) }
func (d directKernel) AbortCode(m *facetest.RxMessage) int32 { return d.k.AbortCode(rxMessage(m)) }

func (d directKernel) ErrorNumber(m *facetest.RxMessage) syscall.Errno {
	return d.k.ErrorNumber(rxMessage(m))
}
