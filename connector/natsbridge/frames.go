package natsbridge

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// foreign is true where the byte order of the host is not that between hosts.
var foreign = binary.NativeEndian.Uint16([]byte{1, 0}) != 1

// appendFrame appends a frame of this host in the byte order between hosts.
func appendFrame(b, fr []byte) []byte {
	at := len(b)
	b = append(b, fr...)
	if foreign {
		swapFrame(b[at:], frame.Type(fr[4]))
	}
	return b
}

// ownFrame turns a frame of another host into one of this host, in place.
func ownFrame(fr []byte) {
	if foreign && len(fr) >= frame.HeaderLen {
		swapFrame(fr, frame.Type(fr[4]))
	}
}

// swapFrame reverses the bytes of each number in fr: of its header, and of what is in its body.
func swapFrame(fr []byte, t frame.Type) {
	swap16(fr[6:])
	for _, off := range []int{0, 8, 12, 16, 20, 24, 28} {
		swap32(fr[off:])
	}
	swap64(fr[32:])
	body := fr[frame.HeaderLen:]
	switch t {
	case frame.Send, frame.Fail:
		if len(body) < connector.HeaderLen {
			return
		}
		for _, off := range []int{0, 8, 12, 16, 20, 24, 28} {
			swap32(body[off:])
		}
		for _, off := range []int{4, 6, 32, 34} {
			swap16(body[off:])
		}
	case frame.Stop, frame.Go, frame.Gone:
		if len(body) == 8 {
			swap32(body)
			swap32(body[4:])
		}
	}
}

func swap16(b []byte) {
	binary.NativeEndian.PutUint16(b, bits.ReverseBytes16(binary.NativeEndian.Uint16(b)))
}

func swap32(b []byte) {
	binary.NativeEndian.PutUint32(b, bits.ReverseBytes32(binary.NativeEndian.Uint32(b)))
}

func swap64(b []byte) {
	binary.NativeEndian.PutUint64(b, bits.ReverseBytes64(binary.NativeEndian.Uint64(b)))
}

// checkSend reports what is wrong with a frame, in the host's byte order, that another
// host says a client of it has sent: a Send, Follow or Unfollow. What its own broker would have
// ended the client for does not come by here.
func checkSend(fr []byte) error {
	h, body, err := frame.Parse(fr)
	switch {
	case err != nil || int(h.Len) != len(fr):
		return fmt.Errorf("%w: a Send of %d bytes", errFrame, len(fr))
	case (h.Type == frame.Follow || h.Type == frame.Unfollow) && len(body) == 0:
		return nil
	case h.Type != frame.Send:
		return fmt.Errorf("%w: type %d of %d bytes instead of a Send", errFrame, h.Type, len(fr))
	}
	if _, err := connector.ParseExact(body); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

// checkAnswer does the same for what another host answers a client of this one.
func checkAnswer(fr []byte) error {
	h, body, err := frame.Parse(fr)
	if err != nil || int(h.Len) != len(fr) {
		return fmt.Errorf("%w: an answer of %d bytes", errFrame, len(fr))
	}
	ok := false
	switch h.Type {
	case frame.Ack:
		ok = h.Code != 0 && printable(body) || h.Code == 0 && len(body) == 0
	case frame.Fail:
		ok = len(body) == connector.HeaderLen
	case frame.Lost, frame.PortGone:
		ok = len(body) == 0
	case frame.Stop, frame.Go, frame.Gone:
		ok = len(body) == 0 || len(body) == 8
	}
	if !ok {
		return fmt.Errorf("%w: answer of type %d with %d bytes", errFrame, h.Type, len(body))
	}
	return nil
}
