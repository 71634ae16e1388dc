package tsagent_test

import (
	"encoding/binary"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Datagrams that wait to be sent take what they have counted against the window, however small they are.
func TestSmallDatagramsThatWait(t *testing.T) {
	s := onLoopback(t, nil)
	r := s.raw(t)
	path := socketPath(t)
	d, err := tsocket.UnixDgram(path, tsocket.Addr{}) // does not read
	require.NoError(t, err)
	defer d.Close()
	x := r.open(unix.AF_UNIX, unix.SOCK_DGRAM)
	r.must(tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, path))
	const each = 1000
	body := binary.NativeEndian.AppendUint32(nil, each)
	body = binary.NativeEndian.AppendUint16(body, 1) // a byte each
	body = append(binary.NativeEndian.AppendUint16(body, 0), make([]byte, each)...)
	before := heap()
	const window = 256 << 10
	for n := 0; n+len(body) < window; n += len(body) {
		r.post(tsagent.Header{Op: tsagent.OpSendTo, Sock: x}, body)
	}
	r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: x})
	require.Greater(t, s.agent.Sockets()[0].Queued, window/2)
	require.Less(t, heap()-before, int64(8*window))
	got := make([]byte, 1)
	for range 3 * each {
		_, _, err := d.RecvFrom(soon(t), got)
		require.NoError(t, err)
	}
}

// What datagrams are received in counts against the memory of a user, and is given back.
func TestMemoryOfReceiving(t *testing.T) {
	for _, h := range []tsagent.Header{{Op: tsagent.OpWindow, Arg: 1000}, {Op: tsagent.OpRecvFrom}} {
		t.Run(h.Op.String(), func(t *testing.T) {
			s := onLoopback(t, &tsagent.Config{Window: 128 << 10, BytesPerUID: 900 << 10})
			r := s.raw(t)
			x, y := r.open(unix.AF_INET, unix.SOCK_DGRAM), r.open(unix.AF_INET, unix.SOCK_DGRAM)
			h := h
			h.Sock = x
			require.NoError(t, r.ep.Post(soon(t), message(h), dest(0)))
			h.Sock = y
			err := r.refuse(syscall.ENOBUFS, h)
			require.ErrorContains(t, err, "limit")
			r.must(tsagent.Header{Op: tsagent.OpClose, Sock: x})
			require.NoError(t, r.ep.Post(soon(t), message(h), dest(0)))
			r.refuse(syscall.EBUSY, tsagent.Header{Op: tsagent.OpRecvFrom, Sock: y})
		})
	}
}

// So does a batch that is put together.
func TestMemoryOfParts(t *testing.T) {
	s := onLoopback(t, &tsagent.Config{Window: 128 << 10, BytesPerUID: 160 << 10})
	r := s.raw(t)
	x := r.open(unix.AF_INET, unix.SOCK_DGRAM)
	for range 3 {
		r.post(tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagMore, Sock: x}, make([]byte, 16000))
	}
	h, why := r.event()
	require.Equal(t, tsagent.EvError, h.Op)
	require.EqualValues(t, syscall.ENOBUFS, binary.NativeEndian.Uint32(why))
	r.must(tsagent.Header{Op: tsagent.OpClose, Sock: x})
	for range 10 { // nothing is left of it
		x = r.open(unix.AF_INET, unix.SOCK_DGRAM)
		r.post(tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagMore, Sock: x}, make([]byte, 16000))
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: x})
	}
}

// When a part of a batch is refused, so is the rest: what is behind it is no batch, whatever it looks like.
func TestRestOfBatchThatWasRefused(t *testing.T) {
	s := onLoopback(t, nil)
	r := s.raw(t)
	d, err := tsocket.UDP(local4(0), tsocket.Addr{})
	require.NoError(t, err)
	defer d.Close()
	x := r.open(unix.AF_INET, unix.SOCK_DGRAM)
	batch := func(text string) []byte {
		var w tsagent.BatchWriter
		w.Add([]byte(text), d.LocalAddr())
		return w.Body()
	}
	part := tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagMore, Sock: x}
	tooLong := func() {
		for range 15 {
			r.post(part, make([]byte, 16000))
		}
		h, why := r.event()
		require.Equal(t, tsagent.EvError, h.Op)
		require.EqualValues(t, syscall.EMSGSIZE, binary.NativeEndian.Uint32(why))
	}
	last := tsagent.Header{Op: tsagent.OpSendTo, Sock: x}
	tooLong()
	r.refuse(syscall.EMSGSIZE, last, batch("not a datagram"))
	r.must(last, batch("a datagram"))
	got, err := d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "a datagram", string(got.Data))

	tooLong()
	r.post(last, batch("not a datagram"))
	granted, refused := false, false // what counted against the window is given back
	for !granted || !refused {
		switch h, _ := r.event(); h.Op {
		case tsagent.EvWindow:
			granted = true
			require.Equal(t, uint64(15*16000+len(batch("not a datagram"))), h.Arg)
		case tsagent.EvError:
			refused = true
		}
	}
	r.must(last, batch("another"))
	got, err = d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "another", string(got.Data))
}

// The smallest window has room for the largest datagram, again and again.
func TestSmallestWindow(t *testing.T) {
	s := onLoopback(t, &tsagent.Config{Window: 1})
	c := s.client(t)
	to, err := tsocket.UDP(local4(0), tsocket.Addr{})
	require.NoError(t, err)
	defer to.Close()
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.NoError(t, d.SetNotices(true))
	for range 20 {
		_, err := d.SendTo(soon(t), make([]byte, 65507), to.LocalAddr())
		require.NoError(t, err)
		got, err := to.RecvFromSend(background).Wait(soon(t))
		require.NoError(t, err)
		require.Len(t, got.Data, 65507)
	}
}
