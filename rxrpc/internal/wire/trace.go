package wire

import "strconv"

// AppendText appends a line for people, without its end, that says what a
// datagram is:
//
//	DATA 8badf00d/12345678.0 call 1 seq 1 serial 1 CLIENT|LAST rxkad cksum abcd service 147: 8 bytes
//	ACK 8badf00d/12345678.0 call 1 serial 1 SLOWSTART none service 147: IDLE of 1, first 2, previous 1, mtu 65160/1444 window 255 jumbo 0
//
// after the type: epoch/connection.channel. Soft acks are runs: "3+2-1+" is
// three that are there, two that are missing and one. Of a jumbo datagram it is
// the first packet's header, and the number of packets. It allocates only to
// make b longer, for whatever bytes.
func AppendText(b, datagram []byte) []byte {
	h, body, err := ParseHeader(datagram)
	if err != nil {
		b = append(b, "not Rx, "...)
		return appendBytes(b, len(datagram))
	}
	b = h.appendText(b)
	b = append(b, ": "...)
	switch h.Type {
	case TypeData:
		return appendData(b, h, body)
	case TypeAck:
		return appendAck(b, body)
	case TypeAbort:
		if code, err := ParseAbort(body); err == nil {
			b = strconv.AppendInt(b, int64(code), 10)
			if name := code.Name(); name != "" {
				b = append(append(append(b, " ("...), name...), ')')
			}
			return b
		}
	case TypeDebug:
		if r, err := ParseDebugRequest(body); err == nil && h.FromClient() {
			b = appendName(b, r.Type.name(), int64(r.Type))
			return strconv.AppendInt(append(b, ' '), int64(r.Index), 10)
		}
	case TypeVersion:
		if !h.FromClient() && len(body) > 1 {
			return appendQuoted(b, body)
		}
	}
	return appendBytes(b, len(body))
}

func (h *Header) appendText(b []byte) []byte {
	b = appendName(b, h.Type.name(), int64(h.Type))
	b = appendHex(append(b, ' '), uint32(h.Epoch), 8)
	b = appendHex(append(b, '/'), uint32(h.CID.ConnID()), 8)
	b = appendField(b, ".", uint32(h.CID.Channel()))
	b = appendField(b, " call ", uint32(h.Call))
	if h.Seq != 0 || h.Type == TypeData {
		b = appendField(b, " seq ", uint32(h.Seq))
	}
	b = appendField(b, " serial ", uint32(h.Serial))
	b = h.Flags.appendText(append(b, ' '), h.Type)
	if h.UserStatus != 0 {
		b = appendField(b, " status ", uint32(h.UserStatus))
	}
	b = appendName(append(b, ' '), h.Security.name(), int64(h.Security))
	if h.Checksum != 0 {
		b = appendHex(append(b, " cksum "...), uint32(h.Checksum), 4)
	}
	return appendField(b, " service ", uint32(h.Service))
}

func appendData(b []byte, h Header, body []byte) []byte {
	s, err := SplitData(h, body)
	switch {
	case err != nil:
		b = append(b, "bad jumbo, "...)
	case s.Len() > 1:
		b = append(strconv.AppendInt(b, int64(s.Len()), 10), " packets, "...)
	}
	return appendBytes(b, len(body))
}

func appendAck(b, body []byte) []byte {
	a, err := ParseAck(body)
	if err != nil {
		return appendBytes(append(b, "bad, "...), len(body))
	}
	b = appendName(b, a.Reason.name(), int64(a.Reason))
	b = appendField(b, " of ", uint32(a.Serial))
	b = appendField(b, ", first ", uint32(a.First))
	b = appendField(b, ", previous ", uint32(a.Previous))
	if len(a.Acks) > 0 {
		b = appendRuns(append(b, ", acks "...), a.Acks)
	}
	for i, f := range a.Trailer.fields() {
		if i == a.Trailer.Words {
			break
		}
		b = appendField(b, [...]string{", mtu ", "/", " window ", " jumbo "}[i], *f)
	}
	if a.Padding > 0 {
		b = appendField(b, ", padding ", uint32(a.Padding))
	}
	return b
}

func appendRuns(b, acks []byte) []byte {
	for i := 0; i < len(acks); {
		v, n := acks[i]&SoftAcked, 0
		for ; i < len(acks) && acks[i]&SoftAcked == v; i++ {
			n++
		}
		b = append(strconv.AppendInt(b, int64(n), 10), "-+"[v])
	}
	return b
}

// appendName appends a name, or the number of what has none.
func appendName(b []byte, name string, n int64) []byte {
	if name == "" {
		return strconv.AppendInt(append(b, '?'), n, 10)
	}
	return append(b, name...)
}

func appendField(b []byte, name string, v uint32) []byte {
	return strconv.AppendUint(append(b, name...), uint64(v), 10)
}

func appendBytes(b []byte, n int) []byte {
	return append(strconv.AppendInt(b, int64(n), 10), " bytes"...)
}

func appendHex(b []byte, v uint32, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[v>>(4*i)&15])
	}
	return b
}

// appendQuoted appends the text of a VERSION reply.
func appendQuoted(b, body []byte) []byte {
	b = append(b, '"')
	for _, c := range body[:min(len(body), VersionSize)] {
		if c == 0 {
			break
		}
		b = append(b, printable(c))
	}
	return append(b, '"')
}
