package rxkad

import (
	"crypto/des"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func eight(t testing.TB, s string) [8]byte {
	t.Helper()
	return [8]byte(unhex(t, s))
}

func key(t testing.TB, s string) Key {
	t.Helper()
	return NewKey(unhex(t, s))
}

var exampleConn = proto.ConnID{Epoch: 0x8badf00d, CID: 0x1234567c, Service: 147}

func exampleSealer(t testing.TB, l Level) *sealer {
	t.Helper()
	s := &sealer{level: l}
	s.setKey(eight(t, "0123456789abcdef"), exampleConn)
	return s
}

// The worked example of the project's reference, section 4.7.
func TestWorkedExample(t *testing.T) {
	plain := exampleSealer(t, Plain)
	assert.Equal(t, "f16b288253a22775", hex.EncodeToString(plain.sumIV[:]))
	first := proto.PacketID{Call: 1, Channel: 2, Seq: 1}
	assert.EqualValues(t, 0x9cf1, plain.checksum(first))
	const data = "hello, rxkad!"
	for _, c := range []struct {
		level Level
		id    proto.PacketID
		want  string
	}{
		{Plain, first, "68656c6c6f2c2072786b616421"},
		{Auth, first, "85099e6cf806a1116f2c2072786b616421"},
		{Auth, proto.PacketID{Call: 5, Channel: 2, Seq: 7}, "c58dc5a81d93b1b36f2c2072786b616421"},
		{Encrypt, first, "621339ac5e1b8d683c3fae982a18cd44505d2b44aaa06084"},
	} {
		s := exampleSealer(t, c.level)
		body, _ := s.seal([]byte("before"), c.id, []byte(data))
		assert.Equal(t, c.want, hex.EncodeToString(body[6:]), c.level)
		for _, pad := range []string{"", "0000000000", "00000000000000"} {
			if c.level == Plain && pad != "" {
				continue
			}
			got, err := s.open([]byte("private"), c.id, append(unhex(t, c.want), unhex(t, pad)...))
			require.NoError(t, err)
			assert.Equal(t, "private"+data, string(got))
		}
	}
}

func TestWorkedResponse(t *testing.T) {
	s := exampleSealer(t, Encrypt)
	ticket := make([]byte, 56)
	for i := range ticket {
		ticket[i] = byte(i)
	}
	r := response{calls: [4]wire.CallNumber{0, 0, 1, 0}, nonce: 0x11223345, level: 2}
	b := r.append(nil, exampleConn, &s.cipher, s.iv, &Token{Version: Kerberos5, Ticket: ticket})
	assert.Equal(t, "000000020000000015b3cf22e926d6e4a498cc7b42052e01f8fae9b297575d7b71c879ff0eed88aec4956f93514ffa2b0000010000000038",
		hex.EncodeToString(b[:56]))
	assert.Equal(t, ticket, b[56:])
}

func TestWorkedTicket4(t *testing.T) {
	const plain = "00616c6963650000544553542e4f524700000000000123456789abcdefff6553f100616673000000"
	id := Identity{Name: "alice", Cell: "TEST.ORG", Begins: 1700000000}
	assert.Equal(t, plain, hex.EncodeToString(appendTicket4(nil, &id, eight(t, "0123456789abcdef"), 0xff, "afs", "")))

	const sealed = "5622d4775f48abfdb26fc59338a506ec75f9f5f41dbfb1b117c7f5e923002c77831df5806cc921bd"
	server := eight(t, "a7838acbc783ec94")
	block, err := des.NewCipher(server[:])
	require.NoError(t, err)
	b := unhex(t, plain)
	pcbcEncrypt(block, b, b, server)
	assert.Equal(t, sealed, hex.EncodeToString(b))

	got, err := openTicket4(b, server, OpenAFSLifetimes)
	require.NoError(t, err)
	assert.Equal(t, Identity{Name: "alice", Cell: "TEST.ORG", Begins: 1700000000, Expires: Never}, got.Identity)
	assert.Equal(t, eight(t, "0123456789abcdef"), got.session)
	got, err = openTicket4(b, server, LinuxLifetimes)
	require.NoError(t, err)
	assert.EqualValues(t, 1700000000+76500, got.Expires)
}

// Linux's test of its own DES in PCBC mode (net/rxrpc/tests/rxrpc_kunit.c).
func TestDESVector(t *testing.T) {
	block, err := des.NewCipher(unhex(t, "0001020304050607"))
	require.NoError(t, err)
	b := unhex(t, "000102030405060708090a0b0c0d0e0f1011121314151617")
	iv := eight(t, "fffefdfcfbfaf9f8")
	out := make([]byte, len(b))
	pcbcDecrypt(block, out, b, iv)
	assert.Equal(t, "c8e23cdf80618aada552b42074321fe42c157d2157da3f31", hex.EncodeToString(out))
	pcbcEncrypt(block, out, out, iv)
	assert.Equal(t, b, out)
}

func TestDerivedKeys(t *testing.T) {
	long := make([]byte, 32)
	for i := range long {
		long[i] = byte(i)
	}
	for n, want := range map[int]string{16: "07838c58c11c64ab", 32: "b60db5e30b266b16"} {
		k, err := sessionKey(18, long[:n])
		require.NoError(t, err)
		assert.Equal(t, want, hex.EncodeToString(k[:]))
	}
	k, err := sessionKey(1, long[:8])
	require.NoError(t, err)
	assert.Equal(t, [8]byte(long[:8]), k, "a DES key is one")
	for _, enctype := range []int32{-1, 0, 4, 6, 8, 15} {
		_, err := sessionKey(enctype, long[:24])
		assert.Error(t, err, enctype)
	}
	_, err = sessionKey(17, long[:6])
	assert.Error(t, err, "too short for a key")
	_, err = sessionKey(16, long[:16])
	assert.Error(t, err, "DES3 has 24 bytes")
}

// A DES3 key of 21 bytes, made by RFC 3961's rule (section 6.3.1), comes back.
func TestCompressDES3(t *testing.T) {
	raw := make([]byte, 21)
	for i := range raw {
		raw[i] = byte(37*i + 11)
	}
	var k []byte
	for g := 0; g < 21; g += 7 {
		var last byte
		for j := range 7 {
			last |= raw[g+j] & 1 << (j + 1)
		}
		group := [8]byte(append(append([]byte{}, raw[g:g+7]...), last))
		fixParity(&group)
		k = append(k, group[:]...)
	}
	assert.Equal(t, raw, compressDES3(k))
	a, err := sessionKey(16, k)
	require.NoError(t, err)
	b, err := deriveDES(raw)
	require.NoError(t, err)
	assert.Equal(t, b, a)
}

func TestLifetimes(t *testing.T) {
	const begins = 1700000000
	for life := 1; life < 256; life++ {
		for _, l := range []Lifetimes{OpenAFSLifetimes, LinuxLifetimes} {
			end := l.End(begins, uint8(life))
			got, ok := l.Life(begins, end)
			require.True(t, ok)
			if life <= lifeMax || life == lifeAlways || l == LinuxLifetimes {
				require.EqualValues(t, life, got)
			}
		}
	}
	assert.EqualValues(t, begins+127*300, OpenAFSLifetimes.End(begins, 0x7f))
	assert.EqualValues(t, begins+38400, OpenAFSLifetimes.End(begins, 0x80))
	assert.EqualValues(t, begins+maxLife, OpenAFSLifetimes.End(begins, 0xbf))
	assert.EqualValues(t, begins+maxLife, OpenAFSLifetimes.End(begins, 0xfe))
	assert.EqualValues(t, Never, OpenAFSLifetimes.End(begins, 0xff))
	for _, c := range []struct {
		d    uint32
		life uint8
		ok   bool
	}{{0, 0, false}, {1, 1, true}, {300, 1, true}, {301, 2, true}, {38100, 127, true}, {38101, 0x80, true}, {38401, 0x81, true}, {maxLife, 0xbf, true}, {maxLife + 1, 0, false}} {
		life, ok := OpenAFSLifetimes.Life(begins, begins+c.d)
		assert.Equal(t, c.ok, ok, c.d)
		assert.Equal(t, c.life, life, c.d)
	}
}

func TestTimes(t *testing.T) {
	const now, skew = int64(1800000000), int64(Skew / time.Second)
	for _, c := range []struct {
		begins, ends int64
		want         error
	}{
		{now - 60, now + 60, nil},
		{0, Never, nil},
		{0, now + 60, nil},
		{now - 60, Never, nil},
		{now + skew, now + skew + 60, nil},
		{now + skew + 1, now + skew + 60, NoAuth},
		{now + skew + maxLife, now + skew + maxLife + 60, NoAuth},
		{now + skew + maxLife + 1, now + skew + maxLife + 60, BadTicket},
		{now - 60, now - 1, Expired},
		{0, now - 1, Expired},
		{now - 60, now - 60, BadTicket},
		{now - 60, now - 61, BadTicket},
		{now - 60, now - 60 + maxLife, nil},
		{now - 60, now - 60 + maxLife + 1, BadTicket},
		{now - 32*86400, now - 20*86400, BadTicket},
		{now - 31*86400, now - 20*86400, Expired},
	} {
		err := checkTimes(uint32(c.begins), uint32(c.ends), now, skew)
		if c.want == nil {
			assert.NoError(t, err, "%+v", c)
		} else {
			assert.ErrorIs(t, err, c.want, "%+v", c)
		}
	}
}
