package rxkad

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

type calls = [wire.Channels]wire.CallNumber

var (
	desKey = "0123456789abcdef"
	aesKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// cellKeys has a DES key with version 3 and an AES-256 key with version 5, as the cells of the interop tests.
func cellKeys(t testing.TB) Keys {
	desKey, aesKey := key(t, desKey), key(t, aesKey)
	return KeysFunc(func(q KeyQuery) (Key, error) {
		switch (KeyQuery{Version: q.Version, EncType: q.EncType}) {
		case KeyQuery{Version: 3, EncType: DES}:
			return desKey, nil
		case KeyQuery{Version: 5, EncType: 18}:
			return aesKey, nil
		}
		return Key{}, ErrNoKey
	})
}

// connect begins a connection on both sides, up to the response.
func connect(t testing.TB, token *Token, l Level, cfg ServerConfig) (c, s proto.SecurityConn, resp []byte) {
	t.Helper()
	client, err := NewClient(token, l)
	require.NoError(t, err)
	c, err = client.NewClient(exampleConn)
	require.NoError(t, err)
	if cfg.Keys == nil {
		cfg.Keys = cellKeys(t)
	}
	s, err = NewServer(cfg).NewServer(exampleConn)
	require.NoError(t, err)
	require.True(t, s.NeedsChallenge())
	ch := s.Challenge([]byte("x"))[1:]
	require.Equal(t, ch, s.Challenge(nil), "the same until it is answered")
	resp, err = c.Respond([]byte("y"), ch, calls{1})
	require.NoError(t, err)
	return c, s, resp[1:]
}

func tokens(t testing.TB) map[string]*Token {
	t.Helper()
	r := TicketRequest{Name: "tester", Cell: "rig.test"}
	v4, err := PrintTicket4(key(t, desKey), 3, r)
	require.NoError(t, err)
	v5, err := PrintTicket5(key(t, aesKey), 5, 18, r)
	require.NoError(t, err)
	l4, err := LocalAuth4(key(t, desKey), 3)
	require.NoError(t, err)
	l5, err := LocalAuth5(key(t, aesKey), 5, 18)
	require.NoError(t, err)
	return map[string]*Token{"kerberos 4": v4, "kerberos 5": v5, "localauth 4": l4, "localauth 5": l5}
}

func TestSession(t *testing.T) {
	for name, token := range tokens(t) {
		for l := Plain; l <= Encrypt; l++ {
			t.Run(fmt.Sprint(name, " ", l), func(t *testing.T) {
				c, s, resp := connect(t, token, l, ServerConfig{})
				raised, err := s.Verify(0, resp, calls{})
				require.NoError(t, err)
				assert.Equal(t, calls{1}, raised)
				assert.False(t, s.NeedsChallenge())
				info := s.Describe()
				assert.True(t, info.Authenticated)
				assert.EqualValues(t, l, info.Level)
				who := info.Peer.(*Identity)
				if who.LocalAuth() {
					assert.Equal(t, "afs", who.String())
				} else {
					assert.Equal(t, "tester@rig.test", who.String())
					assert.WithinDuration(t, time.Now().Add(printedLife), time.Unix(int64(who.Expires), 0), time.Minute)
				}
				require.NoError(t, s.Expired(0))
				require.NoError(t, c.Expired(0))
				exchange(t, c, s)
				exchange(t, s, c)
				_, err = s.Verify(0, resp, calls{})
				assert.ErrorIs(t, err, Inconsistency, "one response per connection")
			})
		}
	}
}

// exchange sends data of every length that fits, alone and many at once.
func exchange(t *testing.T, from, to proto.SecurityConn) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	room := from.Room(wire.JumboData)
	data := make([]byte, room)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	var batch []proto.Sealing
	for n := 0; n <= room; n++ {
		if n > 40 && n < room-20 && n%97 != 0 {
			continue
		}
		id := proto.PacketID{Call: wire.CallNumber(rng.Uint32()), Channel: n % 4, Seq: wire.Seq(rng.Uint32())}
		body, sum, err := from.Seal(nil, id, data[:n])
		require.NoError(t, err)
		require.LessOrEqual(t, len(body), wire.JumboData)
		require.NotZero(t, sum)
		require.NoError(t, to.Check(id, sum))
		require.ErrorIs(t, to.Check(id, sum+1), SealedIncon)
		received := bytes.Clone(body)
		got, err := to.Open([]byte("before"), id, received)
		require.NoError(t, err)
		require.Equal(t, data[:n], got[6:])
		require.Equal(t, body, received, "what was received stays as it was")
		batch = append(batch, proto.Sealing{ID: id, Data: data[:n]})
		if len(batch) == 1+n%17 {
			require.NoError(t, from.(proto.BatchSealer).SealMany(batch))
			for _, p := range batch {
				body, sum, err := from.Seal(nil, p.ID, p.Data)
				require.NoError(t, err)
				require.Equal(t, body, p.Body)
				require.Equal(t, sum, p.Checksum)
			}
			batch = batch[:0]
		}
	}
}

func TestRoom(t *testing.T) {
	for l, want := range []int{1412, 1408, 1400} {
		assert.Equal(t, want, exampleSealer(t, Level(l)).room(wire.JumboData))
		assert.Zero(t, exampleSealer(t, Level(l)).room(0))
	}
}

// What comes of another packet, another connection or another key, or has been changed where it matters.
func TestTampered(t *testing.T) {
	id := proto.PacketID{Call: 1, Channel: 2, Seq: 1}
	for l := Auth; l <= Encrypt; l++ {
		s := exampleSealer(t, l)
		body, sum := s.seal(nil, id, []byte("some data of a packet"))
		for _, other := range []proto.PacketID{{Call: 2, Channel: 2, Seq: 1}, {Call: 1, Channel: 2, Seq: 2}} {
			_, err := s.open(nil, other, body)
			require.ErrorIs(t, err, SealedIncon)
			require.ErrorIs(t, s.check(other, sum), SealedIncon)
		}
		require.ErrorIs(t, s.check(proto.PacketID{Call: 1, Channel: 1, Seq: 1}, sum), SealedIncon)
		for n := range body {
			_, err := s.open(nil, id, body[:n])
			require.Error(t, err, "cut to %d", n)
		}
		for bit := range 64 {
			b := bytes.Clone(body)
			b[bit/8] ^= 1 << (bit % 8)
			if _, err := s.open(nil, id, b); err != nil {
				require.True(t, errors.Is(err, SealedIncon) || errors.Is(err, DataLen))
			}
		}
		other := &sealer{level: l}
		other.setKey(eight(t, "1123456789abcdef"), exampleConn)
		_, err := other.open(nil, id, body)
		require.ErrorIs(t, err, SealedIncon)
	}
}

// A length beyond the packet is no way to anything behind it.
func TestDataLength(t *testing.T) {
	id := proto.PacketID{Call: 1, Seq: 1}
	for l := Auth; l <= Encrypt; l++ {
		s := exampleSealer(t, l)
		b := make([]byte, 64)
		binary.BigEndian.PutUint32(b, word(id, 61))
		if l == Auth {
			s.cipher.Encrypt(b[:8], b[:8], [8]byte{})
		} else {
			s.cipher.Encrypt(b, b, s.iv)
		}
		_, err := s.open(nil, id, b)
		require.ErrorIs(t, err, DataLen)
		require.ErrorIs(t, err, syscall.EPROTO)
	}
}

func TestResponsesRefused(t *testing.T) {
	good := tokens(t)["kerberos 4"]
	now := uint32(time.Now().Unix())
	printed := func(r TicketRequest) *Token {
		r.Name, r.Cell = "tester", "rig.test"
		token, err := PrintTicket4(key(t, desKey), 3, r)
		require.NoError(t, err)
		token.Expires = 0 // the client shows it all the same
		return token
	}
	with := func(f func(*Token)) *Token {
		c := *good
		c.Ticket = bytes.Clone(c.Ticket)
		f(&c)
		return &c
	}
	for _, c := range []struct {
		name  string
		token *Token
		cfg   ServerConfig
		edit  func([]byte) []byte
		want  Code
	}{
		{"short", good, ServerConfig{}, func(b []byte) []byte { return b[:55] }, PacketShort},
		{"empty", good, ServerConfig{}, func([]byte) []byte { return nil }, PacketShort},
		{"version", good, ServerConfig{}, func(b []byte) []byte { b[3] = 1; return b }, Inconsistency},
		{"old form", good, ServerConfig{}, func(b []byte) []byte { return b[4:] }, Inconsistency},
		{"ticket cut", good, ServerConfig{}, func(b []byte) []byte { return b[:len(b)-1] }, PacketShort},
		{"ticket short", with(func(t *Token) { t.Ticket = t.Ticket[:24] }), ServerConfig{}, nil, TicketLen},
		{"ticket longer than the response", good, ServerConfig{}, func(b []byte) []byte { b[54] = 0xff; return b }, PacketShort},
		{"ticket of 4 GB", good, ServerConfig{}, func(b []byte) []byte { copy(b[52:], "\xff\xff\xff\xff"); return b }, PacketShort},
		{"ticket long", with(func(t *Token) { t.Ticket = make([]byte, MaxTicket) }), ServerConfig{}, func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[52:], MaxTicket+1)
			return append(b, 0)
		}, TicketLen},
		{"key version", with(func(t *Token) { t.Version = 4 }), ServerConfig{}, nil, UnknownKey},
		{"ticket type", with(func(t *Token) { t.Version = 257 }), ServerConfig{}, nil, UnknownKey},
		{"no kerberos 4", good, ServerConfig{KerberosOnly5: true}, nil, UnknownKey},
		{"no keys", good, ServerConfig{Keys: MoreKeys()}, nil, UnknownKey},
		{"key expired", good, ServerConfig{Keys: KeysFunc(func(KeyQuery) (Key, error) { return Key{}, errno.KeyExpired })}, nil, Expired},
		{"key revoked", good, ServerConfig{Keys: KeysFunc(func(KeyQuery) (Key, error) { return Key{}, errno.KeyRevoked })}, nil, NoAuth},
		{"key of the wrong kind", good, ServerConfig{Keys: OneKey(3, key(t, aesKey))}, nil, UnknownKey},
		{"service key", good, ServerConfig{Keys: OneKey(3, key(t, "fedcba9876543210"))}, nil, BadTicket},
		{"ticket changed", with(func(t *Token) { t.Ticket[0] ^= 1 }), ServerConfig{}, nil, BadTicket},
		{"not kerberos 5", with(func(t *Token) { t.Version = Kerberos5 }), ServerConfig{}, nil, BadTicket},
		{"not its part", with(func(t *Token) { t.Version = Kerberos5Part }), ServerConfig{}, nil, BadTicket},
		{"expired", printed(TicketRequest{Begins: now - 7200, Expires: now - 3600}), ServerConfig{}, nil, Expired},
		{"future", printed(TicketRequest{Begins: now + 1800, Expires: now + 3600}), ServerConfig{}, nil, NoAuth},
		{"future, no skew", printed(TicketRequest{Begins: now + 300, Expires: now + 3600}), ServerConfig{Skew: -1}, nil, NoAuth},
		{"session key", with(func(t *Token) { t.Session = RandomKey() }), ServerConfig{}, nil, SealedIncon},
		{"sealed part changed", good, ServerConfig{}, func(b []byte) []byte { b[30] ^= 1; return b }, SealedIncon},
		{"clear part changed", good, ServerConfig{}, func(b []byte) []byte { b[7] ^= 1; return b }, SealedIncon},
		{"level", good, ServerConfig{}, seal(t, good, func(b []byte) { b[47] = 3 }), LevelFail},
		{"level below the least", good, ServerConfig{MinLevel: Encrypt}, seal(t, good, func(b []byte) { b[47] = 0 }), LevelFail},
		{"nonce", good, ServerConfig{}, seal(t, good, func(b []byte) { b[43]++ }), OutOfSequence},
		{"call number", good, ServerConfig{}, seal(t, good, func(b []byte) { b[24] = 0x80 }), SealedIncon},
		{"epoch", good, ServerConfig{}, seal(t, good, func(b []byte) { b[8] ^= 1 }), SealedIncon},
		{"cid", good, ServerConfig{}, seal(t, good, func(b []byte) { b[15] ^= 4 }), SealedIncon},
		{"security index", good, ServerConfig{}, seal(t, good, func(b []byte) { b[23] = 3 }), SealedIncon},
		{"user", good, ServerConfig{Authorize: func(i *Identity) error { return errors.New(i.String()) }}, nil, NoAuth},
		{"user, with a code", good, ServerConfig{Authorize: func(*Identity) error { return IllegalLevel }}, nil, IllegalLevel},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s, resp := connect(t, c.token, Encrypt, c.cfg)
			if c.edit != nil {
				resp = c.edit(resp)
			}
			known := calls{7, 8, 9, 10}
			raised, err := s.Verify(0, resp, known)
			require.ErrorIs(t, err, c.want)
			assert.ErrorIs(t, err, c.want.Unwrap())
			abort, ok := errors.AsType[*proto.AbortError](err)
			require.True(t, ok)
			assert.EqualValues(t, c.want, abort.Code, "the peer is told that code")
			assert.Equal(t, known, raised, "no call number moves")
			assert.False(t, s.Describe().Authenticated)
			assert.Nil(t, s.Describe().Peer)
			_, err = s.Open(nil, proto.PacketID{Call: 1, Seq: 1}, make([]byte, 64))
			assert.Error(t, err)
			assert.Error(t, s.Check(proto.PacketID{Call: 1, Seq: 1}, 1))
		})
	}
}

// seal changes what is sealed in a response, and seals it again with a checksum that is right.
func seal(t testing.TB, token *Token, f func([]byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		k, _ := token.Session.eight()
		s := &sealer{}
		s.setKey(k, exampleConn)
		s.cipher.Decrypt(b[8:48], b[8:48], k)
		f(b)
		clear(b[16:20])
		binary.BigEndian.PutUint32(b[16:], responseSum(b))
		s.cipher.Encrypt(b[8:48], b[8:48], k)
		return b
	}
}

func TestCallNumbersGoUp(t *testing.T) {
	_, s, resp := connect(t, tokens(t)["kerberos 4"], Plain, ServerConfig{})
	raised, err := s.Verify(0, resp, calls{0, 4, 0, 0})
	require.NoError(t, err)
	assert.Equal(t, calls{1, 4, 0, 0}, raised, "a call that has overtaken the response is not taken back")
}

func TestChallengesRefused(t *testing.T) {
	client, err := NewClient(tokens(t)["kerberos 4"], Auth)
	require.NoError(t, err)
	c, err := client.NewClient(exampleConn)
	require.NoError(t, err)
	good := challenge{nonce: 1, minLevel: Auth}.append(nil)
	for n := range good {
		_, err := c.Respond(nil, good[:n], calls{})
		require.ErrorIs(t, err, PacketShort, n)
	}
	for _, x := range []struct {
		b    []byte
		want Code
	}{
		{challenge{minLevel: Encrypt}.append(nil), LevelFail},
		{challenge{minLevel: 3}.append(nil), LevelFail},
		{append([]byte{0, 0, 0, 3}, good[4:]...), Inconsistency},
	} {
		b, err := c.Respond([]byte("before"), x.b, calls{})
		require.ErrorIs(t, err, x.want)
		assert.Equal(t, "before", string(b), "nothing of the key leaves")
	}
	_, err = c.Respond(nil, append(good, "whatever"...), calls{})
	require.NoError(t, err)
}

func TestExpiry(t *testing.T) {
	token := tokens(t)["kerberos 4"]
	now := time.Now()
	clock := func() time.Time { return now }
	client, err := NewClient(token, Encrypt)
	require.NoError(t, err)
	client.now = clock
	c, err := client.NewClient(exampleConn)
	require.NoError(t, err)
	s, err := NewServer(ServerConfig{Keys: cellKeys(t), Now: clock}).NewServer(exampleConn)
	require.NoError(t, err)
	resp, err := c.Respond(nil, s.Challenge(nil), calls{})
	require.NoError(t, err)
	_, err = s.Verify(0, resp, calls{})
	require.NoError(t, err)
	now = time.Unix(int64(token.Expires)+1, 0)
	require.ErrorIs(t, s.Expired(0), Expired)
	require.ErrorIs(t, c.Expired(0), errno.KeyExpired)
	_, err = c.Respond(nil, s.Challenge(nil), calls{})
	require.ErrorIs(t, err, Expired)
	_, err = client.NewClient(exampleConn)
	require.ErrorIs(t, err, Expired)
}

func TestNonces(t *testing.T) {
	srv, seen := NewServer(ServerConfig{}), map[string]bool{}
	for range 1000 {
		s, err := srv.NewServer(exampleConn)
		require.NoError(t, err)
		seen[string(s.Challenge(nil))] = true
	}
	assert.Greater(t, len(seen), 990)
	_, err := NewServer(ServerConfig{Rand: bytes.NewReader(nil)}).NewServer(exampleConn)
	assert.Error(t, err, "no challenge without chance")
}

func TestAllocatesNothing(t *testing.T) {
	c, s, resp := connect(t, tokens(t)["kerberos 4"], Plain, ServerConfig{})
	_, err := s.Verify(0, resp, calls{})
	require.NoError(t, err)
	id, data := proto.PacketID{Call: 1, Seq: 1}, make([]byte, 1400)
	for l := Plain; l <= Encrypt; l++ {
		c.(*clientConn).level, s.(*serverConn).secure.sealer.level = l, l
		body, plain := make([]byte, 0, 2048), make([]byte, 0, 2048)
		batch := make([]proto.Sealing, 9)
		bodies := make([][2048]byte, len(batch))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			b, sum, err := c.Seal(body, id, data)
			if err == nil {
				err = s.Check(id, sum)
			}
			if err == nil {
				_, err = s.Open(plain, id, b)
			}
			for i := range batch {
				batch[i] = proto.Sealing{ID: id, Data: data, Body: bodies[i][:0]}
			}
			if err == nil {
				err = c.(proto.BatchSealer).SealMany(batch)
			}
			if err != nil {
				panic(err)
			}
			_ = s.Check(id, sum+1)
		}), l)
	}
}
