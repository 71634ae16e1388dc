package proto

import (
	"net/netip"
	"testing"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Section 1.2 of the reference, rule by rule. Each row has a service that listens and has had call 5
// on channel 0 of a connection, of which call 6 runs, and a client call in progress.
func TestScreening(t *testing.T) {
	const (
		silent   = ""
		protocol = "ABORT -5 call "
	)
	toServer := fromClient
	rows := []struct {
		name string
		pkt  func(c *Call) (wire.Header, []byte)
		want string
		drop string
	}{
		{"1 short ACK", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeAck, 6, 0), make([]byte, 17) }, silent, "short ACK"},
		{"2 VERSION that is a reply", func(c *Call) (wire.Header, []byte) { return fromServer(c, wire.TypeVersion, 0), []byte{0} }, silent, ""},
		{"3 BUSY to a server", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeBusy, 6, 0), nil }, silent, "BUSY to a server"},
		{"3 ACK without call", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeAck, 0, 0), ack(1, 1, 0, 0) }, protocol + "0", "no call number"},
		{"3 DATA without call", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeData, 0, 1), nil }, protocol + "0", "no call number"},
		{"3 DATA without seq", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeData, 6, 0), nil }, protocol + "6", "DATA without a sequence number"},
		{"4 ABORT without code", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeAbort, 6, 0), []byte{1, 2, 3} }, silent, "short ABORT"},
		{"4 CHALLENGE to a server", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeChallenge, 0, 0), nil }, silent, "CHALLENGE to a server"},
		{"4 RESPONSE to a client", func(c *Call) (wire.Header, []byte) { return fromServer(c, wire.TypeResponse, 0), nil }, silent, "RESPONSE to a client"},
		{"4 type 9", func(*Call) (wire.Header, []byte) { return toServer(9, 6, 0), nil }, silent, "type without a meaning"},
		{"4 type 11", func(*Call) (wire.Header, []byte) { return toServer(11, 6, 0), nil }, silent, "type without a meaning"},
		{"4 type 12", func(*Call) (wire.Header, []byte) { return toServer(12, 6, 0), nil }, protocol + "6", "unknown type"},
		{"4 type 99", func(*Call) (wire.Header, []byte) { return toServer(99, 6, 0), nil }, protocol + "6", "unknown type"},
		{"5 no service", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 6, 1)
			h.Service = 0
			return h, nil
		}, protocol + "6", "no service"},
		{"6 no client connection: cid", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeData, 1)
			h.CID += 4
			return h, nil
		}, protocol + "1", "no such connection"},
		{"6 no client connection: epoch", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeData, 1)
			h.Epoch++
			return h, nil
		}, protocol + "1", "no such connection"},
		{"6 ABORT of no connection is not answered", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeAbort, 0)
			h.CID += 4
			return h, []byte{0, 0, 0, 1}
		}, silent, "no such connection"},
		{"7 security index", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeData, 1)
			h.Security = 2
			return h, nil
		}, "ABORT 19270400 call 1", "security index of another connection"},
		{"7 security index at a server", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 6, 2)
			h.Security = 2
			return h, nil
		}, "ABORT 19270400 call 6", "security index of another connection"},
		{"7 service", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeData, 1)
			h.Service++
			return h, nil
		}, protocol + "1", "service of another connection"},
		{"7 service at a server", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 6, 2)
			h.Service++
			return h, nil
		}, protocol + "6", "service of another connection"},
		{"8 call of the past", func(*Call) (wire.Header, []byte) { return toServer(wire.TypeData, 4, 1), nil }, silent, "call of the past"},
		{"8 call just finished, acknowledged", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 1)
			h.CID |= 1
			return h, nil
		}, silent, "call that has ended"},
		{"8 call just aborted: the ABORT again", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 1)
			h.CID |= 2
			return h, nil
		}, "ABORT 77 call 1", ""},
		{"8 ABORT of a call just aborted", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeAbort, 1, 0)
			h.CID |= 2
			return h, []byte{0, 0, 0, 1}
		}, silent, "call that has ended"},
		{"9 call of the future at a client", func(c *Call) (wire.Header, []byte) {
			h := fromServer(c, wire.TypeData, 1)
			h.Call++
			return h, nil
		}, protocol + "2", "a call that was never made"},
		{"10 new call by an ACK", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeAck, 1, 0)
			h.CID += 4
			return h, ack(wire.AckPing, 1, 0, 0)
		}, protocol + "1", "no such call"},
		{"10 new call by an ACK that has overtaken its DATA", func(*Call) (wire.Header, []byte) {
			return toServer(wire.TypeAck, 7, 0), ack(wire.AckPing, 1, 0, 0)
		}, silent, "no such call yet"},
		{"10 unknown service, first packet", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 1)
			h.CID += 4
			h.Service = 999
			return h, nil
		}, "ABORT -2 call 1", "no such service"},
		{"10 unknown service, later packet", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 2)
			h.CID += 4
			h.Service = 999
			return h, nil
		}, silent, "no such service"},
		{"10 unknown class", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 1)
			h.CID += 4
			h.Security = 5
			return h, nil
		}, "ABORT -2 call 1", "no such security class"},
		{"10 beyond the window", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeData, 1, 256)
			h.CID += 4
			return h, nil
		}, "ABORT -1 call 1", "a call that has been lost"},
		{"10 beyond the window of the next call", func(*Call) (wire.Header, []byte) {
			return toServer(wire.TypeData, 7, 256), nil
		}, silent, "first packet beyond the window"},
		{"10 call number too large", func(*Call) (wire.Header, []byte) {
			return toServer(wire.TypeData, 1<<31, 1), nil
		}, "ABORT -5 call 2147483648", "call number too large"},
		{"11 ABORT of no call is not answered", func(*Call) (wire.Header, []byte) {
			h := toServer(wire.TypeAbort, 1, 0)
			h.CID += 4
			return h, []byte{0, 0, 0, 1}
		}, silent, "no such call"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.auto()
			call := r.begin(CallParams{}, []byte("hello"))
			h := toServer(wire.TypeData, 5, 1)
			h.Flags |= wire.LastPacket
			r.in(h, 'a')
			h.Call = 6
			h.Flags &^= wire.LastPacket
			r.in(h, 'b')
			served := r.arrive[1]
			for ch := wire.CID(1); ch < 3; ch++ {
				h := toServer(wire.TypeData, 1, 1)
				h.Flags |= wire.LastPacket
				h.CID |= ch
				r.in(h, 'c')
			}
			done := r.arrive[2]
			_, err := done.Send(r.now, nil, false)
			require.NoError(t, err)
			r.out()
			h = toServer(wire.TypeAck, 1, 0)
			h.CID |= 1
			r.in(h, ack(wire.AckIdle, 2, 1, 0)...)
			require.Equal(t, Succeeded, done.Result().Completion)
			r.arrive[3].Abort(r.now, 77)
			r.out()
			r.drops = nil

			h, body := row.pkt(call)
			client := h.FromClient()
			r.in(h, body...)
			out := r.out()
			if row.want == silent {
				assert.Empty(t, out)
			} else if assert.Len(t, out, 1) {
				assert.Equal(t, row.want, out[0].String())
				assert.Equal(t, !client, out[0].FromClient())
				assert.Equal(t, h.Epoch, out[0].Epoch)
				assert.Equal(t, h.CID, out[0].CID)
				if row.drop != "" {
					assert.Zero(t, out[0].Serial)
					assert.Equal(t, h.Service, out[0].Service)
				}
			}
			if row.drop == "" {
				assert.Empty(t, r.drops)
			} else {
				assert.Equal(t, []string{row.drop}, r.drops)
			}
			assert.Equal(t, Running, call.Result().Completion)
			assert.Equal(t, Running, served.Result().Completion)
			assert.Equal(t, 1, r.stats.LiveServiceConns)
		})
	}
}

func TestOffPathPacketsChangeNothing(t *testing.T) {
	r := newRig(t, Config{})
	r.auto()
	call := r.begin(CallParams{}, []byte("hello"))
	r.in(fromClient(wire.TypeData, 1, 1), 'a')
	served := r.arrive[0]
	r.out()
	elsewhere := netip.MustParseAddrPort("10.9.9.9:7777")
	for _, body := range [][]byte{ack(wire.AckExceedsWindow, 1, 0, 0), {0, 0, 0, 1}, nil} {
		for _, typ := range []wire.PacketType{wire.TypeData, wire.TypeAck, wire.TypeAbort, wire.TypeAckAll, wire.TypeBusy} {
			for _, spoil := range []func(h *wire.Header){
				func(h *wire.Header) { h.Epoch ^= 1 },
				func(h *wire.Header) { h.CID ^= 0x40 },
				func(h *wire.Header) { h.Call += 100 },
				func(h *wire.Header) { h.CID ^= 1; h.Call += 7 },
				nil, // another port
			} {
				c, s := fromServer(call, typ, 1), fromClient(typ, 1, 2)
				s.Serial, c.Serial = 9999, 9999
				if spoil == nil {
					r.inFrom(elsewhere, c, body...)
					r.inFrom(elsewhere, s, body...)
					continue
				}
				spoil(&c)
				r.inFrom(serverAddr, c, body...)
				if typ != wire.TypeData { // that would be a call of somebody else
					spoil(&s)
					r.inFrom(clientAddr, s, body...)
				}
			}
		}
	}
	assert.Equal(t, Running, call.Result().Completion)
	assert.Equal(t, Running, served.Result().Completion)
	assert.Zero(t, call.rx.top)
	assert.EqualValues(t, 1, served.rx.top)
	assert.EqualValues(t, 1, call.snd.Base())
	assert.Equal(t, 1, r.stats.LiveServiceConns)
	assert.Len(t, r.arrive, 1)
}
