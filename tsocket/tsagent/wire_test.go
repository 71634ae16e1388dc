package tsagent

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

func inet(s string) tsocket.Addr {
	return tsocket.MustAddr(tsocket.AddrFrom(netip.MustParseAddrPort(s)))
}

var testAddrs = []tsocket.Addr{
	{},
	inet("192.0.2.1:7001"), inet("[2001:db8::1]:53"), inet("[fe80::1%3]:53"),
	tsocket.MustAddr(tsocket.UnixAddr("")), tsocket.MustAddr(tsocket.UnixAddr("/run/x")),
}

func TestHeaderIsSixteenBytes(t *testing.T) {
	h := Header{Op: OpWritev, Flags: FlagNoReply | FlagMore, Sock: 0x01020304, Arg: 0x1112131415161718}
	b := h.Append([]byte("x"))
	require.Len(t, b, 1+HeaderLen)
	got, body, err := ParseHeader(append(b[1:], "body"...))
	require.NoError(t, err)
	assert.Equal(t, h, got)
	assert.Equal(t, "body", string(body))
	for n := range HeaderLen {
		_, _, err := ParseHeader(b[1 : 1+n])
		require.ErrorIs(t, err, syscall.EINVAL)
		_, _, err = ParseReply(b[1 : 1+n])
		require.ErrorIs(t, err, syscall.EINVAL)
	}
	_, _, err = ParseReply(b[1:])
	require.ErrorIs(t, err, syscall.EINVAL, "a request is no reply")
}

func TestReplyHasErrnoAndText(t *testing.T) {
	r := Reply{Op: OpConnect, Sock: 7, Errno: syscall.ECONNREFUSED, Value: 3}
	got, body, err := ParseReply(append(r.Append(nil), "nobody \x1blistens"...))
	require.NoError(t, err)
	assert.Equal(t, r, got)
	err = got.Err(body)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Equal(t, "nobody ?listens", err.Error())
	require.NoError(t, Reply{}.Err(nil))
}

func TestAddressesTruncated(t *testing.T) {
	for _, a := range testAddrs {
		b := AppendAddr(nil, a)
		require.Zero(t, len(b)%4)
		got, rest, err := ParseAddr(append(b, "rest"...))
		require.NoError(t, err, a)
		assert.Equal(t, a, got)
		assert.Equal(t, "rest", string(rest))
		for n := range b {
			_, _, err := ParseAddr(b[:n])
			require.Error(t, err, "%v cut to %d", a, n)
		}
	}
	for _, bad := range []string{"\xff\xff\x00\x00" + strings.Repeat("x", 200), "\x02\x00\x00\x00\x63\x00\x00\x00", "\x03\x00\x00\x00\x02\x00\x00\x00"} {
		_, _, err := ParseAddr([]byte(bad))
		require.Error(t, err)
	}
}

func TestBatchKeepsEveryDatagram(t *testing.T) {
	a, b := inet("192.0.2.1:1"), inet("[2001:db8::1]:2")
	var want []tsocket.Message
	for i, m := range []struct {
		to tsocket.Addr
		n  int
	}{{a, 1400}, {a, 1400}, {a, 1400}, {a, 7}, {a, 1400}, {b, 1400}, {a, 0}, {a, 0}, {a, 3}, {tsocket.Addr{}, 5}, {tsocket.Addr{}, 5}, {b, 65000}, {b, 65000}, {b, 1}} {
		data := make([]byte, m.n)
		for j := range data {
			data[j] = byte(i + j)
		}
		want = append(want, tsocket.Message{Data: data, Addr: m.to})
	}
	var w BatchWriter
	for _, m := range want {
		w.Add(m.Data, m.Addr)
	}
	body := w.Body()
	require.Equal(t, len(want), w.Len())
	got, err := ParseBatch(nil, body)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Addr, got[i].Addr, i)
		require.Equal(t, len(want[i].Data), len(got[i].Data), i)
		require.Equal(t, string(want[i].Data), string(got[i].Data))
	}
	for n := range body {
		if got, err := ParseBatch(nil, body[:n]); err == nil {
			require.Less(t, len(got), len(want), "cut to %d of %d", n, len(body))
		} else {
			require.ErrorIs(t, err, syscall.EINVAL)
			require.Empty(t, got)
		}
	}
}

// Datagrams of one size to one address share a record.
func TestBatchOfOneSizeIsOneRecord(t *testing.T) {
	var w BatchWriter
	for range 10 {
		w.Add(make([]byte, 100), inet("192.0.2.1:1"))
	}
	require.Len(t, w.Body(), recordLen+16+1000)
}

func TestBatchRefusesWhatLies(t *testing.T) {
	record := func(length uint32, segment, alen uint16, rest string) []byte {
		b := native.AppendUint32(nil, length)
		b = native.AppendUint16(native.AppendUint16(b, segment), alen)
		return append(b, rest...)
	}
	for _, b := range [][]byte{
		record(0xffffffff, 0, 0, "data"), record(5, 0, 0, "data"), record(0xfffffffd, 0, 0, ""), record(4, 4, 0, "data"), record(4, 5, 0, "data"), record(0, 1, 0, ""),
		record(4, 0, sameAddr, "data"), record(4, 0, 200, strings.Repeat("x", 300)), record(4, 0, 16, "short"), record(3, 0, 0, "abc"),
	} {
		msgs, err := ParseBatch(make([]tsocket.Message, 2), b)
		require.ErrorIs(t, err, syscall.EINVAL, "%q", b)
		require.Len(t, msgs, 2)
	}
	_, err := ParseBatch(nil, record(2000, 1, 0, strings.Repeat("x", 2000)))
	require.ErrorIs(t, err, syscall.EMSGSIZE)
}

func TestNoticeTruncated(t *testing.T) {
	n := &tsocket.Notice{
		Dst: inet("192.0.2.1:7001"), Offender: inet("192.0.2.254:0"), Errno: syscall.EHOSTUNREACH, Type: 3, Code: 1, MTU: 1280, Data: []byte("begin"),
	}
	b := AppendNotice(nil, n)
	got, err := ParseNotice(b)
	require.NoError(t, err)
	require.Equal(t, n, got)
	for i := range len(b) - len(n.Data) {
		_, err := ParseNotice(b[:i])
		require.Error(t, err, i)
	}
}

func TestEventErrno(t *testing.T) {
	why, err := parseErrno(appendErrno(nil, tsocket.ErrEOF))
	require.NoError(t, err)
	require.ErrorIs(t, why, syscall.EPIPE)
	why, err = parseErrno(appendErrno(nil, errors.New("without an errno")))
	require.NoError(t, err)
	require.ErrorIs(t, why, syscall.EIO)
	require.EqualError(t, why, "without an errno")
	why, err = parseErrno(appendErrno(nil, nil))
	require.NoError(t, err)
	require.NoError(t, why)
	_, err = parseErrno([]byte("abc"))
	require.ErrorIs(t, err, syscall.EINVAL)
}

func TestDescribe(t *testing.T) {
	var w BatchWriter
	w.Add([]byte("abc"), inet("192.0.2.1:1"))
	w.Add([]byte("d"), inet("192.0.2.1:1"))
	batch := w.Body()
	names := AppendAddr(AppendAddr(nil, inet("192.0.2.1:1")), inet("192.0.2.2:2"))
	set := func(o Option, values ...int64) []byte {
		b := Header{Op: OpSetOpt, Sock: 3, Arg: uint64(o)}.Append(nil)
		for _, v := range values {
			b = native.AppendUint64(b, uint64(v))
		}
		return b
	}
	for _, c := range []struct {
		data []byte
		want string
	}{
		{Header{Op: OpOpen, Arg: 2 | 1<<16}.Append(nil), "open ipv4 stream"},
		{Header{Op: OpOpen, Arg: 99 | 5<<16}.Append(nil), "open 99 5"},
		{append(Header{Op: OpConnect, Sock: 3}.Append(nil), AppendAddr(nil, inet("192.0.2.1:7"))...), "connect sock 3 ipv4:192.0.2.1:7"},
		{append(Header{Op: OpSendTo, Flags: FlagNoReply, Sock: 3}.Append(nil), batch...), "sendto sock 3 posted 2 datagrams, 4 bytes ipv4:192.0.2.1:1"},
		{Header{Op: OpCancel, Flags: FlagAll, Sock: 3, Arg: uint64(OpReadv)}.Append(nil), "cancel sock 3 readv"},
		{append(Header{Op: OpReadv, Flags: FlagDeadline | FlagAll, Sock: 3, Arg: 10}.Append(nil), native.AppendUint64(nil, 1e9)...), "readv sock 3 within 1s 10 bytes all"},
		{set(OptKeepAlive, 7e10, 15e9, 9), "setopt sock 3 keepalive idle 1m10s interval 15s count 9"},
		{set(OptKeepAlive, -1, 0, 0), "setopt sock 3 keepalive off"},
		{set(OptKeepAlive, 0, 0, 0), "setopt sock 3 keepalive on"},
		{set(OptUserTimeout, 3e9), "setopt sock 3 usertimeout 3s"},
		{set(OptBuffers, 1000, 0), "setopt sock 3 buffers receive 1000 send 0"},
		{set(OptNoDelay, 1), "setopt sock 3 nodelay on"},
		{set(OptNotices, 0), "setopt sock 3 notices off"},
		{set(OptMTUMode, int64(tsocket.MTURefuse)), "setopt sock 3 mtumode refuse"},
		{set(OptMTUMode, 77), "setopt sock 3 mtumode 77"},
		{set(OptMTUMode, 1, 2), "setopt sock 3 mtumode (16 bytes)"},
		{set(99, 1), "setopt sock 3 option 99 (8 bytes)"},
		{Header{Op: OpGetOpt, Sock: 3, Arg: uint64(OptPathMTU)}.Append(nil), "getopt sock 3 pathmtu"},
		{append(Reply{Op: OpGetOpt, Sock: 3, Value: uint32(OptPathMTU)}.Append(nil), native.AppendUint64(nil, 1500)...), "getopt sock 3 done pathmtu 1500"},
		{append(Reply{Op: OpConnect, Sock: 3}.Append(nil), names...), "connect sock 3 done ipv4:192.0.2.1:1 ipv4:192.0.2.2:2"},
		{append(Reply{Op: OpBind, Errno: syscall.EACCES}.Append(nil), "rule"...), "bind failed: rule"},
		{append(Header{Op: EvData, Sock: 3}.Append(nil), "abc"...), "data sock 3 3 bytes"},
		{appendErrno(Header{Op: EvEnd, Sock: 3}.Append(nil), nil), "end sock 3 without error"},
		{append(append(Header{Op: EvAccepted, Sock: 3, Arg: 4}.Append(nil), 0, 0, 0, 0), names...), "accepted sock 3 sock 4 ipv4:192.0.2.1:1 ipv4:192.0.2.2:2"},
		{appendErrno(Header{Op: EvError, Sock: 3, Arg: uint64(OpWritev)}.Append(nil), syscall.EBADF), "error sock 3 of writev: bad file descriptor"},
	} {
		got, ok := Describe(connector.Message{ID: cbid.TSocket, Data: c.data})
		require.True(t, ok, c.want)
		assert.Equal(t, c.want, got)
	}
	for _, m := range []connector.Message{
		{ID: cbid.Proc, Data: make([]byte, 16)},
		{ID: cbid.TSocket, Data: make([]byte, 15)},
		{ID: cbid.TSocket, Data: make([]byte, 16)},
		{ID: cbid.TSocket, Data: Header{Op: 0x4fff}.Append(nil)},
		{ID: cbid.TSocket, Data: Header{Op: 0x8fff}.Append(nil)},
	} {
		_, ok := Describe(m)
		require.False(t, ok)
	}
}

func FuzzBatch(f *testing.F) {
	var w BatchWriter
	for i := range 5 {
		w.Add(make([]byte, 100), testAddrs[i])
		w.Add(make([]byte, 100), testAddrs[i])
	}
	f.Add(w.Body())
	f.Fuzz(func(t *testing.T, b []byte) {
		msgs, err := ParseBatch(nil, b)
		if err != nil {
			require.Empty(t, msgs)
			return
		}
		require.LessOrEqual(t, len(msgs), maxBatch)
		var in batchReader
		in.reset(b)
		var some [3]tsocket.Message
		for i := 0; ; {
			part := in.read(some[:])
			for _, m := range part {
				same(t, msgs[i], m)
				i++
			}
			if len(part) == 0 {
				require.Equal(t, len(msgs), i)
				break
			}
		}
		var w BatchWriter
		for _, m := range msgs {
			w.Add(m.Data, m.Addr)
		}
		again, err := ParseBatch(nil, w.Body())
		require.NoError(t, err)
		require.Len(t, again, len(msgs))
		for i := range msgs {
			same(t, msgs[i], again[i])
		}
	})
}

// same is cheap, as a batch may have a thousand of them, and a fuzzer tries such a one thousands of times to make it shorter.
func same(t *testing.T, want, got tsocket.Message) {
	t.Helper()
	if want.Addr != got.Addr || !bytes.Equal(want.Data, got.Data) {
		require.Equal(t, want, got)
	}
}

// FuzzReply is what an agent may send to a client that asked for anything.
func FuzzReply(f *testing.F) {
	for _, a := range testAddrs[1:] {
		f.Add(AppendAddr(AppendAddr(Reply{Op: OpConnect, Sock: 1, Value: 2}.Append(nil), a), a))
	}
	f.Add(append(Reply{Op: OpStat, Errno: syscall.EPERM}.Append(nil), "the policy says no"...))
	f.Add(append(Reply{Op: OpStat}.Append(nil), `{"stats":{"sockets":1},"sockets":[{"sock":1,"family":"ipv4"}]}`...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, body, err := ParseReply(b)
		if err != nil {
			require.ErrorIs(t, err, syscall.EINVAL)
			return
		}
		again, rest, err := ParseReply(append(r.Append(nil), body...))
		require.NoError(t, err)
		require.Equal(t, r, again)
		require.Equal(t, string(body), string(rest))
		if err := r.Err(body); r.Errno == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, r.Errno)
		}
		if _, err := parseSnapshot(body); err != nil {
			require.ErrorIs(t, err, syscall.EPROTO)
		}
		if local, remote, err := parseNames(body); err == nil {
			l, m, err := parseNames(AppendAddr(AppendAddr(nil, local), remote))
			require.NoError(t, err)
			require.Equal(t, local, l)
			require.Equal(t, remote, m)
		}
	})
}

func FuzzNotice(f *testing.F) {
	f.Add(AppendNotice(nil, &tsocket.Notice{Dst: testAddrs[1], Offender: testAddrs[2], Errno: 5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNotice(b)
		if err != nil {
			return
		}
		again, err := ParseNotice(AppendNotice(nil, n))
		require.NoError(t, err)
		n.Data = n.Data[:min(len(n.Data), 576)]
		require.Equal(t, string(n.Data), string(again.Data))
		n.Data, again.Data = nil, nil
		require.Equal(t, n, again)
	})
}

func FuzzDescribe(f *testing.F) {
	for op := range lastOp + 1 {
		f.Add(append(Header{Op: op, Sock: 1, Arg: 1}.Append(nil), "body of it"...))
		f.Add(append(Reply{Op: op, Sock: 1}.Append(nil), "body of it"...))
		f.Add(append(Header{Op: EventBit + op, Sock: 1, Arg: 1}.Append(nil), "body of it"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := Describe(connector.Message{ID: cbid.TSocket, Data: b}); ok {
			require.NotContains(t, s, "\n")
			require.NotEmpty(t, s)
		}
	})
}
