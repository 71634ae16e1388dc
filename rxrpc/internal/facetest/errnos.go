package facetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// Rows of sections 5.1 to 5.8 of the project's reference, by their names there.

type errnoRow struct {
	name string
	want syscall.Errno // 0: no error
	do   func(t *T) error
}

func runRows(t *T, rows []errnoRow) {
	for _, r := range rows {
		t.Run(r.name, func(t *T) {
			err := r.do(t)
			if r.want == 0 {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, r.want)
			var e *rxrpc.SocketError
			require.ErrorAs(t, err, &e)
		})
	}
}

var native = binary.NativeEndian

// raw is a sockaddr_rxrpc with something changed.
func raw(change func(b []byte)) []byte {
	b := at(52, netip.MustParseAddrPort("127.0.0.1:7003")).AppendRaw(nil)
	change(b)
	return b
}

func testErrnosOfAddresses(t *T) {
	sendTo := func(family int, name []byte) func(*T) error {
		return func(t *T) error {
			s, err := t.NewSocket(family, nil)
			require.NoError(t, err)
			defer s.Close()
			c := tag(1)
			_, err = s.SendmsgRaw(t.Context(), name, c.AppendRaw(nil), nil, rxrpc.MsgOOB)
			if assert.Error(t, err) && errorsIs(err, syscall.EOPNOTSUPP) {
				return nil // the address was fine
			}
			return err
		}
	}
	put := func(at int, v uint16) func([]byte) { return func(b []byte) { native.PutUint16(b[at:], v) } }
	six := at(52, netip.MustParseAddrPort("[::1]:7003")).AppendRaw(nil)
	runRows(t, []errnoRow{
		{"total length < 36", syscall.EINVAL, sendTo(rxrpc.Inet, raw(func([]byte) {})[:35])},
		{"srx_family", syscall.EAFNOSUPPORT, sendTo(rxrpc.Inet, raw(put(0, 2)))},
		{"transport_type", syscall.ESOCKTNOSUPPORT, sendTo(rxrpc.Inet, raw(put(4, 1)))},
		{"transport_len < 2", syscall.EINVAL, sendTo(rxrpc.Inet, raw(put(6, 1)))},
		{"transport_len > length-8", syscall.EINVAL, sendTo(rxrpc.Inet, raw(put(6, 29)))},
		{"transport_len < 16", syscall.EINVAL, sendTo(rxrpc.Inet, raw(put(6, 15)))},
		{"transport_len < 28", syscall.EINVAL, sendTo(rxrpc.Inet6, append(append(append([]byte{}, six[:6]...), 16, 0), six[8:]...))},
		{"transport family", syscall.EAFNOSUPPORT, sendTo(rxrpc.Inet, raw(put(8, 1)))},
		{"IPv6 of an IPv4 socket", syscall.EAFNOSUPPORT, sendTo(rxrpc.Inet, six)},
		{"IPv4 of an IPv6 socket", 0, sendTo(rxrpc.Inet6, raw(func([]byte) {}))},
		{"IPv6 of an IPv6 socket", 0, sendTo(rxrpc.Inet6, six)},
	})
	_, err := t.NewSocket(1, nil)
	require.ErrorIs(t, err, syscall.EPROTONOSUPPORT)
}

func errorsIs(err error, n syscall.Errno) bool {
	var e syscall.Errno
	return err != nil && asErrno(err, &e) && e == n
}

func testErrnosOfStates(t *T) {
	client := func(t *T) Socket {
		s := socket(t, nil)
		require.NoError(t, s.Bind(at(0, local4)))
		return s
	}
	server := func(t *T) Socket {
		s := socket(t, nil)
		require.NoError(t, s.Bind(at(1, local4)))
		return s
	}
	server2 := func(t *T) Socket {
		s := server(t)
		require.NoError(t, s.Bind(at(2, local4)))
		return s
	}
	to := at(1, netip.MustParseAddrPort("127.0.0.1:7003"))
	runRows(t, []errnoRow{
		{"unbound: bind service 0", 0, func(t *T) error { client(t); return nil }},
		{"unbound: bind taken service", syscall.EADDRINUSE, func(t *T) error {
			return socket(t, nil).Bind(server(t).Getsockname())
		}},
		{"unbound: bind another service at the same address", 0, func(t *T) error {
			return socket(t, nil).Bind(at(9, server(t).Getsockname().Addr))
		}},
		{"unbound: bind a client at a server's address", 0, func(t *T) error {
			return socket(t, nil).Bind(at(0, server(t).Getsockname().Addr))
		}},
		{"server bound: bind service 0", syscall.EINVAL, func(t *T) error { return server(t).Bind(at(0, local4)) }},
		{"server bound: bind same service", syscall.EADDRINUSE, func(t *T) error { return server(t).Bind(at(1, local4)) }},
		{"server bound: bind another address", syscall.EINVAL, func(t *T) error {
			return server(t).Bind(at(2, netip.MustParseAddrPort("127.0.0.2:0")))
		}},
		{"server bound: bind second", 0, func(t *T) error { server2(t); return nil }},
		{"server bound twice: bind", syscall.EINVAL, func(t *T) error { return server2(t).Bind(at(3, local4)) }},
		{"client bound: bind", syscall.EINVAL, func(t *T) error { return client(t).Bind(at(3, local4)) }},
		{"unbound: connect", 0, func(t *T) error { return socket(t, nil).Connect(to) }},
		{"connected: bind", syscall.EINVAL, func(t *T) error {
			s := socket(t, nil)
			require.NoError(t, s.Connect(to))
			return s.Bind(at(0, local4))
		}},
		{"client: connect", 0, func(t *T) error { return client(t).Connect(to) }},
		{"client: second connect", syscall.EISCONN, func(t *T) error {
			s := client(t)
			require.NoError(t, s.Connect(to))
			return s.Connect(to)
		}},
		{"server: connect", syscall.EBUSY, func(t *T) error { return server(t).Connect(to) }},
		{"unbound: listen", syscall.EADDRNOTAVAIL, func(t *T) error { return socket(t, nil).Listen(1) }},
		{"client: listen", syscall.EBUSY, func(t *T) error { return client(t).Listen(1) }},
		{"server: listen", 0, func(t *T) error { return server(t).Listen(100) }},
		{"server: listen INT_MAX", 0, func(t *T) error { return server(t).Listen(math.MaxInt32) }},
		{"server: listen too many", syscall.EINVAL, func(t *T) error { return server(t).Listen(129) }},
		{"server: listen negative", syscall.EINVAL, func(t *T) error { return server(t).Listen(-1) }},
		{"listening: listen 0", 0, func(t *T) error { return listening(t, 1, nil).Listen(0) }},
		{"listening: listen", syscall.EBUSY, func(t *T) error { return listening(t, 1, nil).Listen(1) }},
		{"disabled: listen", syscall.EBUSY, func(t *T) error {
			s := listening(t, 1, nil)
			require.NoError(t, s.Listen(0))
			return s.Listen(1)
		}},
		{"bound twice: sendmsg", syscall.EINVAL, func(t *T) error {
			_, err := server2(t).Sendmsg(t.Context(), rxrpc.Msg{Name: to, Control: tag(1)})
			return err
		}},
		{"disabled: sendmsg", syscall.EINVAL, func(t *T) error {
			s := listening(t, 1, nil)
			require.NoError(t, s.Listen(0))
			_, err := s.Sendmsg(t.Context(), rxrpc.Msg{Name: to, Control: tag(1)})
			return err
		}},
		{"shutdown one direction", syscall.EOPNOTSUPP, func(t *T) error { return client(t).Shutdown(rxrpc.ShutWR) }},
		{"shutdown", 0, func(t *T) error { return client(t).Shutdown(rxrpc.ShutRDWR) }},
		{"shutdown twice", syscall.ESHUTDOWN, func(t *T) error {
			s := client(t)
			require.NoError(t, s.Shutdown(rxrpc.ShutRDWR))
			return s.Shutdown(rxrpc.ShutRDWR)
		}},
		{"closed", syscall.EBADF, func(t *T) error {
			s := client(t)
			require.NoError(t, s.Close())
			require.NoError(t, s.Close())
			return s.Bind(at(0, local4))
		}},
	})
}

// keys is a KeySource.
type keys map[string]error

func (k keys) RequestKey(d string) (rxrpc.ClientKey, error) {
	err, ok := k[d]
	if !ok {
		return nil, errno.NoKey
	}
	return badKey{err}, nil
}

func (k keys) RequestKeyring(d string) (rxrpc.ServerKeyring, error) {
	if _, ok := k[d]; !ok {
		return nil, errno.NoKey
	}
	return noClasses{}, nil
}

type badKey struct{ err error }

func (k badKey) Secure(uint8) (rxrpc.ClientSecurity, error) { return nil, k.err }

type noClasses struct{}

func (noClasses) Classes(uint8) []rxrpc.ServerSecurity { return nil }

func testErrnosOfOptions(t *T) {
	cfg := &rxrpc.SocketConfig{Keys: keys{"good": nil, "ring": nil}}
	set := func(option int, value []byte, before ...func(s Socket) error) func(*T) error {
		return func(t *T) error {
			s := socket(t, cfg)
			for _, f := range before {
				require.NoError(t, f(s))
			}
			return s.SetOption(rxrpc.SOLRxRPC, option, value)
		}
	}
	u32 := func(n uint32) []byte { return native.AppendUint32(nil, n) }
	pair := func(a, b uint16) []byte { return native.AppendUint16(native.AppendUint16(nil, a), b) }
	bindClient := func(s Socket) error { return s.Bind(at(0, local4)) }
	bind1 := func(s Socket) error { return s.Bind(at(1, local4)) }
	bind2 := func(s Socket) error { return s.Bind(at(2, local4)) }
	listen := func(s Socket) error { return s.Listen(1) }
	get := func(level, option, size int) func(*T) error {
		return func(t *T) error {
			b := make([]byte, size)
			n, err := socket(t, nil).GetOption(level, option, b)
			if err == nil {
				assert.Equal(t, 4, n)
				assert.Equal(t, uint32(rxrpc.CtlChargeAccept), native.Uint32(b))
			}
			return err
		}
	}
	runRows(t, []errnoRow{
		{"1 SECURITY_KEY", 0, set(1, []byte("good"))},
		{"1 not there", errno.NoKey, set(1, []byte("bad"))},
		{"1 bounds: empty", syscall.EINVAL, set(1, nil)},
		{"1 bounds: long", syscall.EINVAL, set(1, bytes.Repeat([]byte("x"), 4096))},
		{"1 twice", syscall.EINVAL, set(1, []byte("good"), func(s Socket) error { return s.SetSecurityKey("good") })},
		{"1 bound", syscall.EISCONN, set(1, []byte("good"), bindClient)},
		{"2 SECURITY_KEYRING", 0, set(2, []byte("ring"))},
		{"2 twice", syscall.EINVAL, set(2, []byte("ring"), func(s Socket) error { return s.SetSecurityKeyring("ring") })},
		{"2 both", 0, set(2, []byte("ring"), func(s Socket) error { return s.SetSecurityKey("good") })},
		{"2 bound", syscall.EISCONN, set(2, []byte("ring"), bind1)},
		{"3 EXCLUSIVE_CONNECTION", 0, set(3, nil)},
		{"3 with bytes", syscall.EINVAL, set(3, u32(1))},
		{"3 bound", syscall.EISCONN, set(3, nil, bindClient)},
		{"4 MIN_SECURITY_LEVEL", 0, set(4, u32(2))},
		{"4 too high", syscall.EINVAL, set(4, u32(3))},
		{"4 size", syscall.EINVAL, set(4, nil)},
		{"4 bound", syscall.EISCONN, set(4, u32(0), bindClient)},
		{"5 UPGRADEABLE_SERVICE", 0, set(5, pair(1, 2), bind1, bind2)},
		{"5 in either order", 0, set(5, pair(2, 1), bind1, bind2)},
		{"5 size", syscall.EINVAL, set(5, u32(1)[:2], bind1, bind2)},
		{"5 set already", syscall.EINVAL, set(5, pair(1, 2), bind1, bind2, func(s Socket) error { return s.SetUpgradeable(1, 2) })},
		{"5 bound once", syscall.EISCONN, set(5, pair(1, 2), bind1)},
		{"5 listening", syscall.EISCONN, set(5, pair(1, 2), bind1, bind2, listen)},
		{"5 others", syscall.EINVAL, set(5, pair(1, 3), bind1, bind2)},
		{"5 same", syscall.EINVAL, set(5, pair(1, 1), bind1, bind2)},
		{"6 SUPPORTED_CMSG", 0, get(rxrpc.SOLRxRPC, 6, 4)},
		{"6 small buffer", syscall.Errno(525), get(rxrpc.SOLRxRPC, 6, 3)},
		{"7 MANAGE_RESPONSE", 0, set(7, u32(0))},
		{"7 value", syscall.EINVAL, set(7, u32(2))},
		{"7 bound", syscall.EISCONN, set(7, u32(0), bindClient)},
		{"7 not offered", syscall.EOPNOTSUPP, set(7, u32(1))},
		{"unknown option", syscall.ENOPROTOOPT, set(99, nil)},
		{"unknown get", syscall.EOPNOTSUPP, get(rxrpc.SOLRxRPC, 1, 4)},
		{"unknown level", syscall.EOPNOTSUPP, func(t *T) error { return socket(t, nil).SetOption(1, 1, nil) }},
	})
}

// cmsg is a control message.
func cmsg(level, typ uint32, data ...byte) []byte {
	b := native.AppendUint64(nil, uint64(16+len(data)))
	b = native.AppendUint32(native.AppendUint32(b, level), typ)
	b = append(b, data...)
	return append(b, make([]byte, (8-len(data)%8)%8)...)
}

func testErrnosOfParsing(t *T) {
	if math.MaxInt == math.MaxInt32 {
		return // the messages below are those of 64-bit programs
	}
	id := cmsg(272, 1, 1, 0, 0, 0, 0, 0, 0, 0)
	with := func(more ...[]byte) []byte { return append(bytes.Clone(id), bytes.Join(more, nil)...) }
	u32s := func(v ...uint32) (b []byte) {
		for _, n := range v {
			b = native.AppendUint32(b, n)
		}
		return b
	}
	send := func(control []byte) func(*T) error {
		return func(t *T) error {
			_, err := socket(t, nil).SendmsgRaw(t.Context(), nil, control, nil, 0)
			if errorsIs(err, syscall.EDESTADDRREQ) || errorsIs(err, errno.BadSlot) || errorsIs(err, syscall.EISCONN) {
				return nil // it was parsed
			}
			return err
		}
	}
	eight := make([]byte, 8)
	runRows(t, []errnoRow{
		{"no control data", syscall.EINVAL, send(nil)},
		{"malformed", syscall.EINVAL, send(with(native.AppendUint64(nil, 8), u32s(272, 1)))},
		{"longer than there is", syscall.EINVAL, send(id[:20])},
		{"other levels", 0, send(with(cmsg(1, 99)))},
		{"unknown type", syscall.EINVAL, send(with(cmsg(272, 15, eight...)))},
		{"type that is received", syscall.EINVAL, send(with(cmsg(272, 3)))},
		{"wrong length", syscall.EINVAL, send(with(cmsg(272, 10, 1)))},
		{"32-bit tag", 0, send(cmsg(272, 1, 1, 0, 0, 0))},
		{"two commands", syscall.EINVAL, send(with(cmsg(272, 2, u32s(1)...), cmsg(272, 14)))},
		{"abort code 0", syscall.EINVAL, send(with(cmsg(272, 2, u32s(0)...)))},
		{"abort", 0, send(with(cmsg(272, 2, u32s(1)...)))},
		{"TX_LENGTH twice", syscall.EINVAL, send(with(cmsg(272, 12, eight...), cmsg(272, 12, eight...)))},
		{"TX_LENGTH negative", syscall.EINVAL, send(with(cmsg(272, 12, bytes.Repeat([]byte{255}, 8)...)))},
		{"TX_LENGTH with a command", syscall.EINVAL, send(with(cmsg(272, 12, eight...), cmsg(272, 14)))},
		{"time-outs of 1", 0, send(with(cmsg(272, 13, u32s(1)...)))},
		{"time-outs of 2", 0, send(with(cmsg(272, 13, u32s(1, 2)...)))},
		{"time-outs of 3", 0, send(with(cmsg(272, 13, u32s(1, 2, 3)...)))},
		{"time-outs of 4", syscall.EINVAL, send(with(cmsg(272, 13, u32s(1, 2, 3, 4)...)))},
		{"time-outs: hard", syscall.ERANGE, send(with(cmsg(272, 13, u32s(math.MaxInt32)...)))},
		{"time-outs: idle", syscall.ERANGE, send(with(cmsg(272, 13, u32s(1, 3600001)...)))},
		{"time-outs: normal", syscall.ERANGE, send(with(cmsg(272, 13, u32s(1, 2, 3600001)...)))},
		{"no USER_CALL_ID", syscall.EINVAL, send(cmsg(272, 10))},
		{"ACCEPT", 0, send(with(cmsg(272, 9)))},
	})
}

func testErrnosOfSendmsg(t *T) {
	type world struct{ server, client Socket }
	call := func(t *T, flags rxrpc.MsgFlags) world { // 1 of the server is 1 of the client
		w := world{server: listening(t, 52, nil)}
		w.client = connected(t, w.server, nil)
		sends(t, w.server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
		sends(t, w.client, rxrpc.Msg{Control: tag(1), Data: pattern(2000), Flags: flags})
		require.NotEmpty(t, receives(t, w.server, 0).Data)
		return w
	}
	complete := func(t *T) world {
		w := call(t, 0)
		sends(t, w.server, rxrpc.Msg{Control: tag(1)})
		_, err := w.client.Wait(soon(t), rxrpc.PollIn)
		require.NoError(t, err)
		return w
	}
	send := func(s Socket, m rxrpc.Msg) error {
		_, err := s.Sendmsg(context.Background(), m)
		return err
	}
	abort := command(1, rxrpc.CtlAbort)
	abort.Code = 1
	length := tag(1)
	length.TxLength, length.HasTxLength = 10, true
	keyed := func(err error) func(*T) error {
		return func(t *T) error {
			s := socket(t, &rxrpc.SocketConfig{Keys: keys{"k": err}})
			require.NoError(t, s.SetSecurityKey("k"))
			return send(s, rxrpc.Msg{Name: at(1, netip.MustParseAddrPort("127.0.0.1:7003")), Control: tag(1)})
		}
	}
	to := func(s Socket, c rxrpc.Control, flags rxrpc.MsgFlags, data []byte) error {
		return send(s, rxrpc.Msg{Control: c, Flags: flags, Data: data})
	}
	runRows(t, []errnoRow{
		{"no address, not connected", syscall.EDESTADDRREQ, func(t *T) error { return to(socket(t, nil), tag(1), 0, nil) }},
		{"old server: data for an unknown id", errno.BadSlot, func(t *T) error { return to(listening(t, 1, nil), tag(1), 0, nil) }},
		{"server of today: no address", syscall.EDESTADDRREQ, func(t *T) error {
			s := listening(t, 1, nil)
			require.NoError(t, to(s, command(2, rxrpc.CtlChargeAccept), 0, nil))
			return to(s, tag(1), 0, nil)
		}},
		{"id unknown + abort", errno.BadSlot, func(t *T) error { return to(socket(t, nil), abort, 0, nil) }},
		{"key rejected", errno.KeyRejected, keyed(errno.KeyRejected)},
		{"key expired", errno.KeyExpired, keyed(errno.KeyExpired)},
		{"key revoked", errno.KeyRevoked, keyed(errno.KeyRevoked)},
		{"SERVER_RECV_REQUEST and data", syscall.EBUSY, func(t *T) error { return to(call(t, rxrpc.MsgMore).server, tag(1), 0, nil) }},
		{"SERVER_RECV_REQUEST and abort", 0, func(t *T) error { return to(call(t, rxrpc.MsgMore).server, abort, 0, nil) }},
		{"PREALLOC and data", syscall.EBUSY, func(t *T) error {
			s := listening(t, 1, nil)
			require.NoError(t, to(s, command(1, rxrpc.CtlChargeAccept), 0, nil))
			return to(s, tag(1), 0, nil)
		}},
		{"PREALLOC and abort", syscall.EBUSY, func(t *T) error {
			s := listening(t, 1, nil)
			require.NoError(t, to(s, command(1, rxrpc.CtlChargeAccept), 0, nil))
			return to(s, abort, 0, nil)
		}},
		{"call already complete: data", syscall.ESHUTDOWN, func(t *T) error { return to(complete(t).client, tag(1), 0, nil) }},
		{"call already complete: abort", syscall.ESHUTDOWN, func(t *T) error { return to(complete(t).client, abort, 0, nil) }},
		{"data after LAST", syscall.EPROTO, func(t *T) error { return to(call(t, 0).client, tag(1), 0, []byte("x")) }},
		{"TX_LENGTH after sending", syscall.EINVAL, func(t *T) error { return to(call(t, rxrpc.MsgMore).client, length, 0, nil) }},
		{"TX_LENGTH twice", syscall.EINVAL, func(t *T) error {
			w := call(t, 0)
			require.NoError(t, to(w.server, length, rxrpc.MsgMore, nil))
			return to(w.server, length, rxrpc.MsgMore, nil)
		}},
		{"more than TX_LENGTH", syscall.EMSGSIZE, func(t *T) error {
			return to(connected(t, listening(t, 1, nil), nil), length, rxrpc.MsgMore, pattern(11))
		}},
		{"LAST with less", syscall.EMSGSIZE, func(t *T) error { return to(connected(t, listening(t, 1, nil), nil), length, 0, pattern(9)) }},
		{"exactly TX_LENGTH", 0, func(t *T) error { return to(connected(t, listening(t, 1, nil), nil), length, 0, pattern(10)) }},
		{"window full, MSG_DONTWAIT", syscall.EAGAIN, func(t *T) error {
			s := connected(t, listening(t, 1, nil), nil)
			n, err := s.Sendmsg(t.Context(), rxrpc.Msg{Control: tag(1), Data: pattern(1 << 20), Flags: rxrpc.MsgDontWait})
			require.NoError(t, err)
			assert.Positive(t, n)
			assert.Less(t, n, 1<<20, "a short count")
			for err == nil {
				_, err = s.Sendmsg(t.Context(), rxrpc.Msg{Control: tag(1), Data: pattern(1 << 20), Flags: rxrpc.MsgDontWait})
			}
			return err
		}},
		{"interrupted", syscall.EINTR, func(t *T) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			n, err := connected(t, listening(t, 1, nil), nil).Sendmsg(ctx, rxrpc.Msg{Control: tag(1), Data: pattern(4 << 20)})
			assert.Positive(t, n)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return err
		}},
		{"interrupted, MSG_WAITALL, no progress", syscall.EINTR, func(t *T) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := connected(t, listening(t, 1, nil), nil).Sendmsg(ctx, rxrpc.Msg{Control: tag(1), Data: pattern(4 << 20), Flags: rxrpc.MsgWaitAll})
			return err
		}},
		{"local shutdown", syscall.EPIPE, func(t *T) error {
			w := call(t, rxrpc.MsgMore)
			require.NoError(t, w.client.Shutdown(rxrpc.ShutRDWR))
			return to(w.client, tag(1), 0, nil)
		}},
		{"call failed while sending", syscall.ECONNABORTED, func(t *T) error {
			w := call(t, rxrpc.MsgMore)
			failed := make(chan error)
			go func() { failed <- to(w.client, tag(1), 0, pattern(4<<20)) }()
			require.NotEmpty(t, receives(t, w.server, 0).Data) // it is at work
			require.NoError(t, to(w.server, abort, 0, nil))
			return <-failed
		}},
		{"CHARGE_ACCEPT: not listening", syscall.EINVAL, func(t *T) error { return to(socket(t, nil), command(1, rxrpc.CtlChargeAccept), 0, nil) }},
		{"CHARGE_ACCEPT: id in use", errno.BadSlot, func(t *T) error { return to(call(t, 0).server, command(1, rxrpc.CtlChargeAccept), 0, nil) }},
		{"CHARGE_ACCEPT: backlog full", syscall.ENOBUFS, func(t *T) error {
			s := listening(t, 1, nil)
			for i := range uint64(10) {
				require.NoError(t, to(s, command(i, rxrpc.CtlChargeAccept), 0, nil))
			}
			return to(s, command(10, rxrpc.CtlChargeAccept), 0, nil)
		}},
		{"old ACCEPT: client", syscall.EISCONN, func(t *T) error { return to(socket(t, nil), command(1, rxrpc.CtlAccept), 0, nil) }},
		{"old ACCEPT: nothing waiting", syscall.ENODATA, func(t *T) error { return to(listening(t, 1, nil), command(1, rxrpc.CtlAccept), 0, nil) }},
		{"old ACCEPT: id in use", errno.BadSlot, func(t *T) error { return to(call(t, 0).server, command(1, rxrpc.CtlAccept), 0, nil) }},
		{"old reject_call without call", syscall.ENODATA, func(t *T) error { return listening(t, 1, nil).Reject() }},
		{"MSG_OOB", syscall.EOPNOTSUPP, func(t *T) error { return to(socket(t, nil), tag(1), rxrpc.MsgOOB, nil) }},
		{"recvmsg MSG_OOB", syscall.EOPNOTSUPP, func(t *T) error { return recvErr(t, socket(t, nil), rxrpc.MsgOOB) }},
		{"recvmsg MSG_TRUNC", syscall.EOPNOTSUPP, func(t *T) error { return recvErr(t, socket(t, nil), rxrpc.MsgTrunc) }},
		{"recvmsg without calls", syscall.EAGAIN, func(t *T) error { return recvErr(t, socket(t, nil), 0) }},
		{"recvmsg MSG_DONTWAIT", syscall.EAGAIN, func(t *T) error { return recvErr(t, listening(t, 1, nil), rxrpc.MsgDontWait) }},
	})
}

func recvErr(t *T, s Socket, flags rxrpc.MsgFlags) error {
	_, err := s.Recvmsg(t.Context(), make([]byte, 10), flags)
	return err
}

func asErrno(err error, e *syscall.Errno) bool { return errors.As(err, e) }
