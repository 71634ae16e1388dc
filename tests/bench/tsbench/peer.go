package tsbench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// What the peer does with a socket that it is handed.
const (
	jobEcho  = 'e' // send back what comes, msgSize at a time
	jobPDUs  = 'p' // write PDUs for ever
	jobFlood = 'f' // send datagrams while told so
	jobDrain = 'd' // receive datagrams
)

// peer is told over its socket what to do: a message holds one descriptor and
// the job. To a flood it is then said when to begin ('1') and to stop ('0').
func peer(ctx context.Context, p *role.Proc) error {
	var a peerArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	if a.Pin {
		if err := pin(); err != nil {
			return err
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.Socket, Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return p.Serve(ctx, nil)
}

func serve(c *net.UnixConn) {
	defer c.Close()
	kind, fd, err := recvJob(c)
	if err != nil {
		return
	}
	var on atomic.Bool
	wake := make(chan struct{}, 1)
	go func() {
		runtime.LockOSThread()
		defer unix.Close(fd)
		switch kind {
		case jobEcho:
			echo(fd)
		case jobPDUs:
			pdus(fd)
		case jobFlood:
			for range wake {
				for on.Load() && flood(fd) {
				}
			}
		case jobDrain:
			drain(fd)
		}
	}()
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil {
			on.Store(false)
			close(wake)
			return
		}
		if on.Store(b[0] == '1'); b[0] == '1' {
			select {
			case wake <- struct{}{}:
			default: // it will look again in any case
			}
		}
		_, _ = c.Write(b) // told
	}
}

// The loops below end when the other end is closed. They wait in system calls,
// not in Go's poller, and are the same for both sides.

func echo(fd int) {
	b := make([]byte, msgSize)
	for {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return
		}
		for out := b[:n]; len(out) > 0; {
			n, err := unix.Write(fd, out)
			if err != nil && err != unix.EINTR {
				return
			}
			out = out[max(n, 0):]
		}
	}
}

func pdus(fd int) {
	var b []byte
	for i := 0; len(b)+pduHead+pduSize <= 64<<10; i++ {
		b = binary.BigEndian.AppendUint32(b, pduSize)
		b = append(b, make([]byte, pduSize)...)
	}
	for {
		for out := b; len(out) > 0; {
			n, err := unix.Write(fd, out)
			if err != nil && err != unix.EINTR {
				return
			}
			out = out[max(n, 0):]
		}
	}
}

var floodData = make([]byte, floodPiece*dgramSize)

// flood sends some datagrams.
func flood(fd int) bool {
	_, err := unix.Write(fd, floodData)
	return err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ECONNREFUSED)
}

func drain(fd int) {
	b := make([]byte, 1<<16)
	for {
		if _, err := unix.Read(fd, b); err != nil && err != unix.EINTR {
			return
		}
	}
}

// recvJob receives a descriptor and what to do with it.
func recvJob(c *net.UnixConn) (kind byte, fd int, err error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, 0, err
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || n != 1 || len(msgs) != 1 {
		return 0, 0, fmt.Errorf("not a job: %d bytes, %d messages, %w", n, len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return 0, 0, err
	}
	return b[0], fds[0], unix.SetNonblock(fds[0], false)
}
