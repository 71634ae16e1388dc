package wire

import "fmt"

// Verdict is what is to be done with a datagram.
type Verdict uint8

// Verdicts.
const (
	Accept  Verdict = iota // look further: connection, call, window
	Discard                // drop it and count it
	Reject                 // answer by an ABORT, if the rate of those allows
)

// A Screening is a verdict with its reason.
type Screening struct {
	Verdict Verdict
	Code    AbortCode // of the ABORT, when rejected
	Why     string    // constant, for counters and traces; "" when accepted
}

// String says what becomes of the packet, and why.
func (s Screening) String() string {
	switch s.Verdict {
	case Accept:
		return "accept"
	case Reject:
		return fmt.Sprintf("abort %v: %s", s.Code, s.Why)
	}
	return "discard: " + s.Why
}

func discard(why string) Screening { return Screening{Verdict: Discard, Why: why} }

func reject(why string) Screening {
	return Screening{Verdict: Reject, Code: ProtocolError, Why: why}
}

// Screen is the part of receiving that needs no state, in the order of Linux's
// net/rxrpc/io_thread.c (7.3). What is accepted has a header, a type that a peer
// may send in this direction, a body long enough to be parsed, a service, and
// call and sequence numbers where its type has them. The header and the body are
// returned in any case but that of a datagram shorter than a header.
//
// It differs from Linux in two things. DEBUG, which that does not know: requests
// are accepted, what cannot be answered is dropped. And ABORT without a service,
// which Linux does not take: OpenAFS refuses an unknown service so, and the caller
// should hear of it. (An ABORT that a peer without the connection made has no
// security index either.) The address of the sender is not its business.
func Screen(b []byte) (h Header, body []byte, s Screening) {
	h, body, err := ParseHeader(b)
	if err != nil {
		return h, nil, discard("shorter than a header")
	}
	return h, body, screen(&h, body)
}

func screen(h *Header, body []byte) Screening {
	toServer := h.FromClient()
	switch h.Type {
	case TypeVersion:
		switch {
		case !toServer:
			return discard("VERSION that is no request")
		case len(body) == 0 || body[0] != 0:
			return discard("VERSION without a zero")
		}
		return Screening{} // belongs to no service
	case TypeDebug:
		switch {
		case !toServer:
			return discard("DEBUG that is no request")
		case len(body) < DebugRequestSize:
			return discard("short DEBUG")
		}
		return Screening{}
	case TypeAck:
		if len(body) < AckFixedSize {
			return discard("short ACK")
		}
	case TypeBusy:
		if toServer {
			return discard("BUSY to a server")
		}
	case TypeAbort:
		if len(body) < AbortSize {
			return discard("short ABORT")
		}
	case TypeChallenge:
		if toServer {
			return discard("CHALLENGE to a server")
		}
	case TypeResponse:
		if !toServer {
			return discard("RESPONSE to a client")
		}
	case TypeData:
		if h.Seq == 0 {
			return reject("DATA without a sequence number")
		}
	case TypeAckAll:
	case TypeParams, 10, 11:
		return discard("type without a meaning")
	default:
		return reject("unknown type")
	}
	switch h.Type {
	case TypeData, TypeAck, TypeAckAll, TypeBusy:
		if h.Call == 0 {
			return reject("no call number")
		}
	}
	if h.Service == 0 && h.Type != TypeAbort {
		return reject("no service")
	}
	return Screening{}
}

// AppendReject appends the packet that answers a rejected one: an ABORT of the
// same call, in the other direction, with serial and security index 0. It appends
// nothing for an ABORT, which is never answered.
func AppendReject(b []byte, h *Header, code AbortCode) []byte {
	if h.Type == TypeAbort {
		return b
	}
	r := h.Reply(TypeAbort)
	return AppendAbort(r.Append(b), code)
}
