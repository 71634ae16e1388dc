//go:build linux

package rxkad_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// servers are OpenAFS's library and ours, with the same keys.
type servers struct{ librx, librx5, ours netip.AddrPort }

func startServers(t *testing.T, minLevel rxkad.Level) servers {
	least := "-minlevel " + names[minLevel]
	return servers{
		rig.Peer(t, netip.AddrPort{}, "-nonull", least).Addr,
		rig.Peer(t, netip.AddrPort{}, "-nonull", least, "-k5key", openafs.AESKey, "-kvno", strconv.Itoa(openafs.AESKeyVersion)).Addr,
		serve(t, netip.AddrPortFrom(rig.Loopback, 0), rxkad.ServerConfig{MinLevel: minLevel}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}}),
	}
}

// codeOf makes a call and returns the code that the server aborts it with, 0 if it succeeds.
func codeOf(t *testing.T, addr netip.AddrPort, cfg *rxrpc.ClientConfig) int32 {
	t.Helper()
	_, err := dial(t, addr, cfg).Do(soon(t), rxp.Nop, 1)
	if err == nil {
		return 0
	}
	abort, ok := errors.AsType[*rxrpc.AbortError](err)
	require.True(t, ok, "%v", err)
	assert.True(t, abort.Remote, "%v", err)
	return abort.Code
}

// TestRefusals: whatever is wrong with a client, our server tells it what OpenAFS tells it.
func TestRefusals(t *testing.T) {
	s, strict := startServers(t, rxkad.Plain), startServers(t, rxkad.Encrypt)
	now := time.Now()
	at := func(d time.Duration) uint32 { return uint32(now.Add(d).Unix()) }
	const day = 24 * time.Hour
	v4 := func(begins, ends time.Duration) *rxkad.Token {
		token := print4(t, rxkad.TicketRequest{Name: "tester", Begins: at(begins), Expires: at(ends)})
		token.Expires = 0 // it is shown all the same
		return token
	}
	v5 := func(r rxkad.TicketRequest, begins, ends time.Duration) *rxkad.Token {
		r.Begins, r.Expires = at(begins), at(ends)
		token, err := rxkad.PrintTicket5(aesKey(t), openafs.AESKeyVersion, openafs.AESType, r)
		require.NoError(t, err)
		token.Expires = 0
		return token
	}
	with := func(token *rxkad.Token, f func(*rxkad.Token)) *rxkad.Token {
		token.Ticket = bytes.Clone(token.Ticket)
		f(token)
		return token
	}
	good := func() *rxkad.Token { return v4(-time.Minute, time.Hour) }
	tester := rxkad.TicketRequest{Name: "tester", Cell: "rig.test"}
	good5 := func() *rxkad.Token { return v5(tester, -time.Minute, time.Hour) }
	otherKey, err := rxkad.PrintTicket4(rxkad.NewKey([]byte("\xfe\xdc\xba\x98\x76\x54\x32\x10")), openafs.KeyVersion, tester)
	require.NoError(t, err)
	otherKey5, err := rxkad.PrintTicket5(rxkad.NewKey(make([]byte, 32)), openafs.AESKeyVersion, openafs.AESType, tester)
	require.NoError(t, err)

	for _, c := range []struct {
		name  string
		token *rxkad.Token
		want  rxkad.Code
	}{
		{"good", good(), 0},
		{"good, five minutes ahead", v4(5*time.Minute, time.Hour), 0},
		{"wrong key", otherKey, rxkad.BadTicket},
		{"unknown key version", with(good(), func(k *rxkad.Token) { k.Version = 9 }), rxkad.UnknownKey},
		{"reserved ticket type", with(good(), func(k *rxkad.Token) { k.Version = 300 }), rxkad.UnknownKey},
		{"short ticket", with(good(), func(k *rxkad.Token) { k.Ticket = k.Ticket[:24] }), rxkad.TicketLen},
		{"odd ticket", with(good(), func(k *rxkad.Token) { k.Ticket = append(k.Ticket, 0) }), rxkad.BadTicket},
		{"changed ticket", with(good(), func(k *rxkad.Token) { k.Ticket[0] ^= 0x80 }), rxkad.BadTicket},
		{"expired a minute ago", v4(-61*time.Minute, -time.Minute), rxkad.Expired},
		{"expired an hour ago", v4(-2*time.Hour, -time.Hour), rxkad.Expired},
		{"expired long ago", v4(-40*day, -39*day), rxkad.BadTicket},
		{"half an hour ahead", v4(30*time.Minute, time.Hour), rxkad.NoAuth},
		{"two months ahead", v4(60*day, 61*day), rxkad.BadTicket},
		{"another session key", with(good(), func(k *rxkad.Token) { k.Session = rxkad.RandomKey() }), rxkad.SealedIncon},
		{"kerberos 5", good5(), 0},
		{"kerberos 5, wrong key", otherKey5, rxkad.BadTicket},
		{"kerberos 5, changed", with(good5(), func(k *rxkad.Token) { k.Ticket[len(k.Ticket)-1] ^= 1 }), rxkad.BadTicket},
		{"kerberos 5, expired a minute ago", v5(tester, -time.Hour, -time.Minute), rxkad.Expired},
		{"kerberos 5, half an hour ahead", v5(tester, 30*time.Minute, time.Hour), rxkad.NoAuth},
		{"kerberos 5, of a life of 40 days", v5(tester, -time.Minute, 40*day), rxkad.BadTicket},
		{"kerberos 5, dotted name", v5(rxkad.TicketRequest{Name: "a.b", Cell: "rig.test"}, -time.Minute, time.Hour), rxkad.BadTicket},
		{"kerberos 5, a service without a domain", v5(rxkad.TicketRequest{Name: "host", Instance: "x", Cell: "rig.test"}, -time.Minute, time.Hour), rxkad.BadTicket},
		{"kerberos 5, another session key", with(good5(), func(k *rxkad.Token) { k.Session = rxkad.RandomKey() }), rxkad.SealedIncon},
	} {
		t.Run(c.name, func(t *testing.T) {
			librx := s.librx
			if c.token.Version == rxkad.Kerberos5Part {
				librx = s.librx5
			}
			theirs := codeOf(t, librx, secured(t, c.token, rxkad.Auth))
			ours := codeOf(t, s.ours, secured(t, c.token, rxkad.Auth))
			assert.Equal(t, rxkad.Code(theirs), rxkad.Code(ours), "OpenAFS, ours")
			assert.Equal(t, c.want, rxkad.Code(ours))
		})
	}
	t.Run("no security", func(t *testing.T) {
		assert.EqualValues(t, -2, codeOf(t, s.librx, nil))
		assert.EqualValues(t, -2, codeOf(t, s.ours, nil))
	})
	t.Run("level below the least", func(t *testing.T) {
		// An honest client sees that from the challenge.
		for _, addr := range []netip.AddrPort{strict.librx, strict.ours} {
			_, err := dial(t, addr, secured(t, good(), rxkad.Plain)).Do(soon(t), rxp.Nop, 1)
			require.ErrorIs(t, err, rxkad.LevelFail)
			assert.Zero(t, codeOf(t, addr, secured(t, good(), rxkad.Encrypt)))
			assert.EqualValues(t, rxkad.LevelFail, rig.PeerClient(t, addr, "-level auth nop").Code)
		}
	})
}

// TestTampered: what is changed on the way is refused as OpenAFS refuses it.
func TestTampered(t *testing.T) {
	s := startServers(t, rxkad.Plain)
	change := func(kind byte, at int) func([]byte) {
		return func(b []byte) {
			if len(b) > at && b[typeAt] == kind {
				b[at] ^= 0x40
			}
		}
	}
	for _, c := range []struct {
		name  string
		level rxkad.Level
		edit  func([]byte)
		want  rxkad.Code
	}{
		{"nothing", rxkad.Encrypt, func([]byte) {}, 0},
		{"sealed part of the response", rxkad.Encrypt, change(response, headerSize+20), rxkad.SealedIncon},
		{"key version", rxkad.Encrypt, change(response, headerSize+51), rxkad.UnknownKey},
		{"ticket length", rxkad.Encrypt, change(response, headerSize+52), rxkad.PacketShort},
		{"ticket", rxkad.Encrypt, change(response, headerSize+60), rxkad.BadTicket},
		{"length, at auth", rxkad.Auth, change(data, headerSize), rxkad.SealedIncon},
		{"data, at encrypt", rxkad.Encrypt, change(data, headerSize), rxkad.SealedIncon},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int32
			for _, addr := range []netip.AddrPort{s.librx, s.ours} {
				token := print4(t, rxkad.TicketRequest{Name: "tester"})
				_, err := dial(t, between(t, addr, c.edit), secured(t, token, c.level)).Do(soon(t), rxp.Nop, 1)
				code := int32(0)
				if abort, ok := errors.AsType[*rxrpc.AbortError](err); ok {
					code = abort.Code
				} else {
					require.NoError(t, err)
				}
				got = append(got, code)
			}
			t.Logf("OpenAFS %d, ours %d", got[0], got[1])
			assert.Equal(t, got[0], got[1])
			assert.EqualValues(t, c.want, got[1])
		})
	}
}

// TestForgedPacket: one packet with a wrong checksum ends the call at OpenAFS. At ours, what does not have the
// client's checksum has not been: it comes again.
func TestForgedPacket(t *testing.T) {
	s := startServers(t, rxkad.Plain)
	for addr, want := range map[netip.AddrPort]rxkad.Code{s.librx: rxkad.SealedIncon, s.ours: 0} {
		forged := false
		first := func(b []byte) {
			if !forged && b[typeAt] == data {
				b[24] ^= 0x40
				forged = true
			}
		}
		token := print4(t, rxkad.TicketRequest{Name: "tester"})
		assert.EqualValues(t, want, codeOf(t, between(t, addr, first), secured(t, token, rxkad.Plain)))
	}
}
