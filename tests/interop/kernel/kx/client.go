//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// clientFlags are what a client is asked to do.
type clientFlags struct {
	to, local, level, key, op, hex              string
	svc, kvno, life                             uint
	age                                         time.Duration
	size, n, conc, chunk, abort, wantSvc, hard  int
	badKey, upgrade, exclusive, txLen, v, print bool
}

func parseClient(args []string) *clientFlags {
	f := &clientFlags{}
	fs := flag.NewFlagSet("client", flag.ExitOnError)
	fs.StringVar(&f.to, "to", "127.0.0.1:7009", "peer")
	fs.UintVar(&f.svc, "svc", 1234, "service ID")
	fs.StringVar(&f.level, "level", "none", "none|plain|auth|encrypt")
	fs.StringVar(&f.key, "key", defKey, "server DES key used to make the ticket")
	fs.UintVar(&f.kvno, "kvno", 1, "ticket kvno put in the key (256 = krb5 ticket, 213 = krb5 enc-part only)")
	fs.UintVar(&f.life, "life", 100, "ticket life in 5-minute units")
	fs.DurationVar(&f.age, "age", 30*time.Second, "how long ago the ticket was issued")
	fs.BoolVar(&f.badKey, "bad-ticket", false, "encrypt the ticket in a wrong server key")
	fs.StringVar(&f.op, "op", "echo", "echo|gen|count|abrt|slow|raw, or of the RXP interface nop|rxecho|sink|source|fail|delay|whoami")
	fs.IntVar(&f.size, "size", 8, "request (echo, sink) or reply (gen) bytes; abort code; ms for slow")
	fs.StringVar(&f.hex, "hex", "", "request body as hex for -op raw")
	fs.IntVar(&f.n, "n", 1, "calls")
	fs.IntVar(&f.conc, "c", 1, "calls in flight")
	fs.BoolVar(&f.upgrade, "upgrade", false, "RXRPC_UPGRADE_SERVICE on the first call")
	fs.BoolVar(&f.exclusive, "exclusive", false, "RXRPC_EXCLUSIVE_CALL")
	fs.StringVar(&f.local, "bind", "", "bind to this local address first")
	fs.IntVar(&f.chunk, "chunk", 0, "send the request in pieces of this size with MSG_MORE (0: one sendmsg)")
	fs.BoolVar(&f.v, "v", false, "log every recvmsg")
	fs.BoolVar(&f.print, "print", false, "print the reply")
	fs.IntVar(&f.abort, "want-abort", 0, "succeed only if the call is aborted with this code")
	fs.IntVar(&f.wantSvc, "want-svc", 0, "succeed only if the reply came from this service ID")
	fs.BoolVar(&f.txLen, "txlen", false, "send RXRPC_TX_LENGTH")
	fs.IntVar(&f.hard, "timeout", 0, "RXRPC_SET_CALL_TIMEOUT hard timeout, seconds")
	_ = fs.Parse(args)
	return f
}

// request is the body to send, and the reply that must come; nil for any.
func (f *clientFlags) request() (req, want []byte) {
	switch f.op {
	case "echo":
		req = pattern(f.size)
		return req, req
	case "gen":
		return fmt.Appendf(nil, "GEN %d", f.size), pattern(f.size)
	case "count":
		req = pattern(f.size)
		copy(req, "SINK ")
		return req, fmt.Append(nil, f.size)
	case "abrt":
		return fmt.Appendf(nil, "ABRT %d", f.size), nil
	case "slow":
		req = fmt.Appendf(nil, "SLOW %d", f.size)
		return req, req
	case "raw":
		req, err := hex.DecodeString(f.hex)
		if err != nil {
			die("hex: %v", err)
		}
		return req, nil
	}
	req, want, ok := rxpRequest(f.op, f.size)
	if !ok {
		die("unknown op %s", f.op)
	}
	return req, want
}

// secure gives the socket a key with a ticket, and the level to use it at.
func (f *clientFlags) secure(fd int) {
	if f.level == "none" {
		return
	}
	level, ok := map[string]uint32{"plain": 0, "auth": 1, "encrypt": 2}[f.level]
	if !ok {
		die("unknown level %s", f.level)
	}
	if err := joinSession(); err != nil {
		die("keyctl join session: %s", errs(err))
	}
	session := make([]byte, 8)
	_, _ = rand.Read(session)
	parity(session)
	key := mustKey(f.key)
	if f.badKey {
		key = mustKey("fedcba9876543210")
	}
	now := time.Now()
	clear := v4Ticket("kx", "", "EXAMPLE.COM", "afs", "example.com", session, now.Add(-f.age), byte(f.life))
	if f.v {
		fmt.Printf("client: session key %x ticket(clear, %d bytes) %x\n", session, len(clear), clear)
	}
	payload := rxrpcKeyV1(2, now.Add(time.Hour), uint32(f.kvno), session, pcbcDES(key, key, clear))
	if err := addKey("rxrpc", "kx-client", payload, keySpecSession); err != nil {
		die("add_key rxrpc: %s", errs(err))
	}
	if err := setopt(fd, optSecurityKey, []byte("kx-client")); err != nil {
		die("RXRPC_SECURITY_KEY: %s", errs(err))
	}
	if err := setoptU32(fd, optMinSecurityLevel, level); err != nil {
		die("RXRPC_MIN_SECURITY_LEVEL: %s", errs(err))
	}
}

// A clientCall is a call in flight.
type clientCall struct {
	reply []byte
	svc   uint16
	done  chan error
}

// A caller makes calls on one socket.
type caller struct {
	*clientFlags
	fd        int
	dst       [sockaddrLen]byte
	req, want []byte

	mu    sync.Mutex // guards what follows
	calls map[uint64]*clientCall
	svc   uint16 // of the last reply
	bad   int
}

// client makes the calls and returns the exit status.
func client(args []string) int {
	f := parseClient(args)
	runtime.LockOSThread() // keys belong to a thread
	to := netip.MustParseAddrPort(f.to)
	fd, err := rxSocket(to.Addr().Is6())
	if err != nil {
		die("socket(AF_RXRPC): %s", errs(err))
	}
	f.secure(fd)
	if f.local != "" {
		if err := rxBind(fd, netip.MustParseAddrPort(f.local), 0); err != nil {
			die("bind: %s", errs(err))
		}
	}
	c := &caller{clientFlags: f, fd: fd, dst: sockaddr(to, uint16(f.svc)), calls: map[uint64]*clientCall{}}
	c.req, c.want = f.request()
	go c.receive()

	start := time.Now()
	var wg sync.WaitGroup
	slots := make(chan struct{}, f.conc)
	for i := range f.n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := c.call(i); err != nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.bad++; c.bad <= 5 {
					fmt.Printf("client: call %d: %v (after %v)\n", i, err, time.Since(start).Round(time.Microsecond))
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	perCall := len(c.req) + len(c.want)
	fmt.Printf("client: %s level=%s op=%s size=%d n=%d c=%d ok=%d bad=%d svc=%d in %v, %.1f calls/s, %.3f MB/s\n",
		f.to, f.level, f.op, f.size, f.n, f.conc, f.n-c.bad, c.bad, c.svc, took.Round(time.Microsecond),
		float64(f.n-c.bad)/took.Seconds(), float64(perCall)*float64(f.n-c.bad)/took.Seconds()/1e6)
	if c.bad > 0 {
		return 1
	}
	return 0
}

// call makes the i-th call and judges its outcome.
func (c *caller) call(i int) error {
	id := uint64(i + 1)
	call := &clientCall{done: make(chan error, 1)}
	c.mu.Lock()
	c.calls[id] = call
	c.mu.Unlock()

	sendErr := c.send(id, i == 0)
	var endErr error
	if sendErr == nil {
		endErr = <-call.done
	} else { // a terminal message may follow all the same
		select {
		case endErr = <-call.done:
		case <-time.After(30 * time.Second):
			return sendErr
		}
	}
	var abort abortError
	switch {
	case errors.As(endErr, &abort) && c.abort != 0 && int(abort) == c.abort:
		fmt.Printf("client: aborted with the expected code %d\n", c.abort)
		return nil // an abort can overtake sendmsg: ECONNABORTED there
	case sendErr != nil:
		return fmt.Errorf("%w; then %v", sendErr, endErr)
	case endErr != nil:
		return endErr
	case c.abort != 0:
		return fmt.Errorf("not aborted, want code %d", c.abort)
	case c.want != nil && !bytes.Equal(call.reply, c.want):
		return fmt.Errorf("reply differs: got %d bytes, want %d", len(call.reply), len(c.want))
	case c.wantSvc != 0 && int(call.svc) != c.wantSvc:
		return fmt.Errorf("the reply is from service %d, want %d", call.svc, c.wantSvc)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.svc = call.svc
	if c.print {
		fmt.Printf("client: call %d: reply %d bytes %.64q svc=%d\n", i, len(call.reply), call.reply, call.svc)
	}
	return nil
}

func (c *caller) send(id uint64, first bool) error {
	cs := []cmsg{{cUserCallID, u64(id)}}
	if c.upgrade && first {
		cs = append(cs, cmsg{cUpgradeService, nil})
	}
	if c.exclusive {
		cs = append(cs, cmsg{cExclusiveCall, nil})
	}
	if c.txLen {
		cs = append(cs, cmsg{cTxLength, u64(uint64(len(c.req)))})
	}
	if c.hard > 0 {
		cs = append(cs, cmsg{cSetCallTimeout, u32(uint32(c.hard))})
	}
	piece := c.chunk
	if piece == 0 {
		piece = max(len(c.req), 1)
	}
	for off := 0; ; off += piece {
		end, flags := min(off+piece, len(c.req)), msgMore
		if end == len(c.req) {
			flags = 0
		}
		if _, err := rxSend(c.fd, c.dst[:], c.req[off:end], flags, cs...); err != nil {
			return fmt.Errorf("sendmsg: %s", errs(err))
		}
		if flags == 0 {
			return nil
		}
		cs = cs[:1]
	}
}

// An abortError is the code with which the peer ended a call.
type abortError int32

func (e abortError) Error() string { return fmt.Sprintf("aborted by peer, code %d", int32(e)) }

// receive hands what comes to the calls it belongs to.
func (c *caller) receive() {
	buf := make([]byte, 256<<10)
	for {
		m, err := rxRecv(c.fd, buf, 0)
		if errors.Is(err, syscall.ENODATA) || errors.Is(err, syscall.EAGAIN) {
			time.Sleep(2 * time.Millisecond) // no call is in flight
			continue
		}
		if err != nil {
			die("client recvmsg: %s", errs(err))
		}
		if c.v {
			fmt.Println("client:", m)
		}
		c.mu.Lock()
		call := c.calls[m.id]
		c.mu.Unlock()
		if call == nil {
			fmt.Println("client: message for unknown call:", m)
			continue
		}
		call.reply = append(call.reply, buf[:m.n]...)
		if m.svc != 0 {
			call.svc = m.svc
		}
		end, err := m.eor(), error(nil)
		for _, x := range m.cs {
			switch x.typ {
			case cAbort:
				end, err = true, abortError(binary.NativeEndian.Uint32(x.data))
			case cNetError, cLocalError, cBusy:
				end, err = true, errors.New(cmsgName[x.typ])
				if len(x.data) == 4 {
					no := syscall.Errno(binary.NativeEndian.Uint32(x.data))
					err = fmt.Errorf("%s %d (%v)", cmsgName[x.typ], int(no), no)
				}
			}
		}
		if end {
			c.mu.Lock()
			delete(c.calls, m.id)
			c.mu.Unlock()
			call.done <- err
		}
	}
}
