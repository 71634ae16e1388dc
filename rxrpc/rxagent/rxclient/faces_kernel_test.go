package rxclient_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

func TestKernels(t *testing.T) { facetest.Kernels.Run(t, faces{within(t)}) }

func (faces) NewKernel(s facetest.Socket) facetest.Kernel {
	return overBus{rxclient.NewKernelService(s.(*rxclient.Socket))}
}

// overBus is *rxclient.KernelService as the tests have it.
type overBus struct{ k *rxclient.KernelService }

func rxCall(c facetest.KernelCall) *rxclient.KernelCall   { return c.(*rxclient.KernelCall) }
func rxMessage(m *facetest.RxMessage) *rxclient.RxMessage { return m.Raw.(*rxclient.RxMessage) }

// orNil keeps a nil pointer from becoming an interface that is not nil.
func orNil(c *rxclient.KernelCall, err error) (facetest.KernelCall, error) {
	if c == nil {
		return nil, err
	}
	return c, err
}

func told(notify func()) func(*rxclient.KernelCall) {
	if notify == nil {
		return nil
	}
	return func(*rxclient.KernelCall) { notify() }
}

func (d overBus) Socket() facetest.Socket { return d.k.Socket() }

func (d overBus) InterceptRxMessages(fn func(facetest.Socket, uint64, *facetest.RxMessage)) error {
	return d.k.InterceptRxMessages(func(s *rxclient.Socket, id uint64, m *rxclient.RxMessage) {
		c, _ := orNil(m.Call, nil)
		fn(s, id, &facetest.RxMessage{Mark: m.Mark, Call: c, Peer: m.Peer, Data: m.Data, Raw: m})
	})
}

func (d overBus) BeginCall(ctx context.Context, p facetest.BeginParams) (facetest.KernelCall, error) {
	return orNil(d.k.BeginCall(ctx, rxclient.BeginParams{UserID: p.UserID, Peer: p.Peer, TxLength: p.TxLength, HasTxLength: p.HasTxLength, NoKey: p.NoKey, Notify: told(p.Notify)}))
}

func (d overBus) EndCall(c facetest.KernelCall) { d.k.EndCall(rxCall(c)) }

func (d overBus) SendData(ctx context.Context, c facetest.KernelCall, data []byte, more bool) (int, error) {
	return d.k.SendData(ctx, rxCall(c), data, more)
}

func (d overBus) AbortCall(c facetest.KernelCall, code int32) bool {
	return d.k.AbortCall(rxCall(c), code)
}

func (d overBus) SetTxLength(c facetest.KernelCall, n int64) error {
	return d.k.SetTxLength(rxCall(c), n)
}

func (d overBus) CheckLife(c facetest.KernelCall) bool             { return d.k.CheckLife(rxCall(c)) }
func (d overBus) SRTT(c facetest.KernelCall) (time.Duration, bool) { return d.k.SRTT(rxCall(c)) }

func (d overBus) AcceptCall(id uint64) (facetest.KernelCall, error) {
	return orNil(d.k.AcceptCall(id))
}

func (d overBus) RejectCall() error { return d.k.RejectCall() }

func (d overBus) ChargeAccept(id uint64, notify func()) (facetest.KernelCall, error) {
	return orNil(d.k.ChargeAccept(id, told(notify)))
}

func (d overBus) RecvData(c facetest.KernelCall, p []byte, wantMore bool) (n, status int, err error) {
	return d.k.RecvData(rxCall(c), p, wantMore)
}

func (d overBus) DataDelivered(m *facetest.RxMessage)   { d.k.DataDelivered(rxMessage(m)) }
func (d overBus) Free(m *facetest.RxMessage)            { d.k.Free(rxMessage(m)) }
func (d overBus) IsDataLast(m *facetest.RxMessage) bool { return d.k.IsDataLast(rxMessage(m)) }
func (d overBus) AbortCode(m *facetest.RxMessage) int32 { return d.k.AbortCode(rxMessage(m)) }

func (d overBus) ErrorNumber(m *facetest.RxMessage) syscall.Errno {
	return d.k.ErrorNumber(rxMessage(m))
}
