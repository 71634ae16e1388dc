package klog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// The library's own way to a KDC knows no context and allocates what the KDC says, so the way is ours; what goes over
// it is not.

// Bounds of answers, in bytes.
const (
	maxUDP = 1 << 16
	maxTCP = 1 << 20
)

// kerberosPort is where KDCs are.
const kerberosPort = "88"

// attempts are how all KDCs of a realm are asked, in turn, until one answers.
var attempts = []struct {
	network string
	wait    time.Duration
}{
	{"udp", time.Second}, {"tcp", 3 * time.Second}, {"udp", 3 * time.Second},
}

// A network finds KDCs and talks to them.
type network struct {
	conf *config.Config
	kdcs []string
}

// exchange sends a request to a realm's KDCs and returns the answer of the first that gives one. If that is no, it is
// in the error, a messages.KRBError.
func (n *network) exchange(ctx context.Context, realm string, request []byte) ([]byte, error) {
	addrs, err := n.find(ctx, realm)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range attempts {
		if a.network == "udp" && (n.conf.LibDefaults.UDPPreferenceLimit == 1 || len(request) > maxUDP-1024) {
			continue
		}
		for _, addr := range addrs {
			reply, err := ask(ctx, a.network, addr, a.wait, request)
			if err == nil {
				err = refusal(reply)
			}
			var no messages.KRBError
			switch {
			case err == nil:
				return reply, nil
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case errors.As(err, &no) && no.ErrorCode == errorcode.KRB_ERR_RESPONSE_TOO_BIG:
			case errors.As(err, &no):
				return nil, err
			}
			errs = append(errs, err)
		}
	}
	return nil, fmt.Errorf("no KDC of %s answers: %w: %w", realm, syscall.ETIMEDOUT, errors.Join(errs...))
}

// find returns the addresses of a realm's KDCs.
func (n *network) find(ctx context.Context, realm string) ([]string, error) {
	if len(n.kdcs) > 0 {
		return n.kdcs, nil
	}
	for _, r := range n.conf.Realms {
		if r.Realm == realm && len(r.KDC) > 0 {
			return r.KDC, nil
		}
	}
	if !n.conf.LibDefaults.DNSLookupKDC {
		return nil, fmt.Errorf("krb5.conf has no KDC of %s: %w", realm, syscall.ENOENT)
	}
	_, found, err := net.DefaultResolver.LookupSRV(ctx, "kerberos", "udp", realm)
	if err != nil {
		return nil, fmt.Errorf("neither krb5.conf nor DNS has a KDC of %s: %w: %w", realm, err, syscall.ENOENT)
	}
	addrs := make([]string, 0, len(found))
	for _, s := range found {
		addrs = append(addrs, net.JoinHostPort(strings.TrimSuffix(s.Target, "."), strconv.Itoa(int(s.Port))))
	}
	return addrs, nil
}

// ask sends a request to one address, and waits for an answer.
func ask(ctx context.Context, network, addr string, wait time.Duration, request []byte) ([]byte, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), kerberosPort)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return askTCP(c, request)
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	b := make([]byte, maxUDP)
	m, err := c.Read(b)
	return b[:m], err
}

// askTCP has the length before each message (RFC 4120, section 7.2.2).
func askTCP(c net.Conn, request []byte) ([]byte, error) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(request)))
	if _, err := c.Write(append(b, request...)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxTCP {
		return nil, fmt.Errorf("%s: an answer of %d bytes: %w", c.RemoteAddr(), n, syscall.EMSGSIZE)
	}
	reply := make([]byte, n)
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// tagError begins a KRB-ERROR: application 30, constructed.
const tagError = 0x40 | 0x20 | 30

// refusal returns the KRB-ERROR that a message is, or nil.
func refusal(b []byte) error {
	if len(b) == 0 || b[0] != tagError {
		return nil
	}
	var e messages.KRBError
	if err := guard(func() error { return e.Unmarshal(b) }); err != nil {
		return errMessage
	}
	return e
}

// errMessage is that a KDC has sent something else than an answer. What the library says of that can have the message in
// it.
var errMessage = fmt.Errorf("the KDC's answer is not one: %w", syscall.EPROTO)

// guard calls the library with what others have sent, and makes an error of a panic: where it takes something for
// granted it looks at the first element of nothing.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errMessage
		}
	}()
	return f()
}

// kdcError makes a KDCError of a KRB-ERROR.
func kdcError(err error) error {
	var no messages.KRBError
	if errors.As(err, &no) {
		return &KDCError{Code: no.ErrorCode, Text: printable(no.EText)}
	}
	return err
}

// printable is a text from a stranger without what terminals act upon, and not too long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0x7e {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}
