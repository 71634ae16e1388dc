package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTrace(t *testing.T) {
	h := Header{
		Epoch: 0x8badf00d, CID: 0x12345679, Call: 1, Seq: 2, Serial: 3, Type: TypeData, Flags: ClientInitiated | LastPacket,
		UserStatus: 1, Security: SecurityRxKAD, Checksum: 0xabc, Service: 147,
	}
	with := func(t PacketType, f Flags, body []byte) []byte {
		h := h
		h.Type, h.Flags, h.Seq, h.UserStatus, h.Checksum, h.Security = t, f, 0, 0, 0, 0
		return append(h.Append(nil), body...)
	}
	ack := Ack{
		First: 5, Previous: 9, Serial: 7, Reason: AckPing, Acks: []byte{1, 1, 1, 0, 0, 1}, Padding: 99,
		Trailer: AckTrailer{MaxMTU: 65160, IfMTU: 1444, RWind: 255, JumboMax: 1, Words: 4},
	}
	short := Ack{First: 1, Reason: 77, Trailer: AckTrailer{MaxMTU: 1444, IfMTU: 1400, Words: 2}}
	jumbo := h
	jumbo.Flags |= JumboPacket
	jumbo.Flags &^= LastPacket
	const where = " 8badf00d/12345678.1 call 1 "
	for want, b := range map[string][]byte{
		"not Rx, 27 bytes": make([]byte, 27),
		"DATA" + where + "seq 2 serial 3 CLIENT|LAST status 1 rxkad cksum 0abc service 147: 3 bytes":             append(h.Append(nil), 1, 2, 3),
		"DATA" + where + "seq 2 serial 3 CLIENT|JUMBO status 1 rxkad cksum 0abc service 147: bad jumbo, 1 bytes": append(jumbo.Append(nil), 1),
		"DATA" + where + "seq 2 serial 3 CLIENT|JUMBO status 1 rxkad cksum 0abc service 147: 2 packets, 2828 bytes": append(jumbo.Append(nil),
			make([]byte, JumboSize(2))...),
		"ACK" + where + "serial 3 CLIENT|SLOWSTART none service 147: PING of 7, first 5, previous 9, acks 3+2-1+, " +
			"mtu 65160/1444 window 255 jumbo 1, padding 99": with(TypeAck, ClientInitiated|SlowStartOK, ack.Append(nil)),
		"ACK" + where + "serial 3 0 none service 147: ?77 of 0, first 1, previous 0, mtu 1444/1400": with(TypeAck, 0, short.Append(nil)),
		"ACK" + where + "serial 3 0 none service 147: bad, 1 bytes":                                 with(TypeAck, 0, []byte{1}),
		"BUSY" + where + "serial 3 0 none service 147: 0 bytes":                                     with(TypeBusy, 0, nil),
		"ABORT" + where + "serial 3 0 none service 147: -5 (RX_PROTOCOL_ERROR)":                     with(TypeAbort, 0, AppendAbort(nil, ProtocolError)),
		"ABORT" + where + "serial 3 0 none service 147: 4711":                                       with(TypeAbort, 0, AppendAbort(nil, 4711)),
		"ABORT" + where + "serial 3 0 none service 147: 1 bytes":                                    with(TypeAbort, 0, []byte{1}),
		"CHALLENGE" + where + "serial 3 0x20 none service 147: 16 bytes":                            with(TypeChallenge, 0x20, make([]byte, 16)),
		"DEBUG" + where + "serial 3 CLIENT|LAST none service 147: GETPEER 9": with(TypeDebug, ClientInitiated|LastPacket,
			DebugRequest{DebugGetPeer, 9}.Append(nil)),
		"DEBUG" + where + "serial 3 CLIENT none service 147: ?-3 -1":    with(TypeDebug, ClientInitiated, DebugRequest{-3, -1}.Append(nil)),
		"DEBUG" + where + "serial 3 LAST none service 147: 56 bytes":    with(TypeDebug, LastPacket, make([]byte, 56)),
		"VERSION" + where + "serial 3 CLIENT none service 147: 1 bytes": with(TypeVersion, ClientInitiated, []byte{0}),
		"VERSION" + where + "serial 3 LAST none service 147: \"te?t\"":  with(TypeVersion, LastPacket, AppendVersion(nil, "te\nt")),
		"?200" + where + "serial 3 0 none service 147: 2 bytes":         with(200, 0, []byte("ab")),
	} {
		assert.Equal(t, "before "+want, string(AppendText([]byte("before "), b)))
	}
}

func TestTraceOfCapturesIsOneLine(t *testing.T) {
	for path, all := range captures(t) {
		for _, b := range all {
			line := AppendText(nil, b)
			assert.NotEmpty(t, line)
			assert.False(t, bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }), "%s: %q", path, line)
		}
	}
}
