//go:build linux

package rxkad_test

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	//lint:ignore SA1019 the protocol has it
	"golang.org/x/crypto/md4"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// The encryption types of Kerberos with DES: CBC with CRC, MD4, MD5.
const (
	desCRC = 1
	desMD4 = 2
	desMD5 = 3
	des3   = 16
	rc4    = 23
)

// serviceKey is a key of the right length for an encryption type; of DES the rig's.
func serviceKey(t testing.TB, enctype int32) []byte {
	t.Helper()
	if enctype <= desMD5 {
		return openafs.DESKey()
	}
	n, ok := rxkad.KeySize(enctype)
	require.True(t, ok)
	b, err := hex.DecodeString(openafs.AESKey + openafs.AESKey)
	require.NoError(t, err)
	return b[:n]
}

// randomKey is a session key of an encryption type.
func randomKey(t testing.TB, enctype int32) []byte {
	t.Helper()
	if enctype <= desMD5 {
		return rxkad.RandomKey().AppendTo(nil)
	}
	n, ok := rxkad.KeySize(enctype)
	require.True(t, ok)
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return b
}

// ticket5 is what a KDC makes: a ticket encrypted in some way, whole or its encrypted part alone, with a session key of some type.
func ticket5(t testing.TB, enctype, session int32, whole bool) *rxkad.Token {
	t.Helper()
	now := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	key := randomKey(t, session)
	part := messages.EncTicketPart{
		Flags:  asn1.BitString{Bytes: make([]byte, 4), BitLength: 32},
		Key:    types.EncryptionKey{KeyType: session, KeyValue: key},
		CRealm: "rig.test", CName: types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: []string{"tester"}},
		AuthTime: now, StartTime: now, EndTime: now.Add(time.Hour),
	}
	plain, err := asn1.Marshal(part)
	require.NoError(t, err)
	plain = asn1tools.AddASNAppTag(plain, asnAppTag.EncTicketPart)
	kvno := openafs.AESKeyVersion
	var sealed types.EncryptedData
	if enctype <= desMD5 {
		kvno = openafs.KeyVersion
		sealed = types.EncryptedData{EType: enctype, KVNO: kvno, Cipher: encryptDES(t, enctype, plain)}
	} else {
		sealed, err = crypto.GetEncryptedData(plain, types.EncryptionKey{KeyType: enctype, KeyValue: serviceKey(t, enctype)}, keyusage.KDC_REP_TICKET, kvno)
		require.NoError(t, err)
	}
	token := &rxkad.Token{Version: rxkad.Kerberos5Part}
	if token.Ticket, err = sealed.Marshal(); whole {
		token.Version = rxkad.Kerberos5
		tkt := messages.Ticket{
			TktVNO: 5, Realm: "RIG.TEST", EncPart: sealed,
			SName: types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"afs", "rig.test"}},
		}
		token.Ticket, err = tkt.Marshal()
	}
	require.NoError(t, err)
	token.Session, err = rxkad.SessionKey(session, key)
	require.NoError(t, err)
	return token
}

// encryptDES is the encryption of RFC 3961, section 6.2: confounder, checksum of it all, message, padding.
func encryptDES(t testing.TB, enctype int32, message []byte) []byte {
	t.Helper()
	size := md5.Size
	iv := make([]byte, des.BlockSize)
	if enctype == desCRC {
		size, iv = 4, openafs.DESKey()
	}
	b := make([]byte, des.BlockSize+size, des.BlockSize+size+len(message)+des.BlockSize)
	_, err := rand.Read(b[:des.BlockSize])
	require.NoError(t, err)
	b = append(b, message...)
	for len(b)%des.BlockSize != 0 {
		b = append(b, 0)
	}
	var sum []byte
	switch enctype {
	case desCRC:
		sum = binary.LittleEndian.AppendUint32(nil, ^crc32.Update(^uint32(0), crc32.IEEETable, b))
	case desMD4:
		h := md4.New()
		h.Write(b)
		sum = h.Sum(nil)
	default:
		s := md5.Sum(b)
		sum = s[:]
	}
	copy(b[des.BlockSize:], sum)
	block, err := des.NewCipher(openafs.DESKey())
	require.NoError(t, err)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(b, b)
	return b
}

// TestTicketsOfEveryKind: whole tickets (256) and encrypted parts (213), encrypted by every type that OpenAFS opens, with session keys that are
// DES keys and such that are made into ones (rxkad-kdf): OpenAFS's library and our server take them from our client, at each level.
func TestTicketsOfEveryKind(t *testing.T) {
	for _, enctype := range []int32{desCRC, desMD4, desMD5, des3, 17, 18, rc4} {
		t.Run(fmt.Sprintf("enctype %d", enctype), func(t *testing.T) {
			key := serviceKey(t, enctype)
			options := []string{"-nonull"}
			if enctype > desMD5 {
				options = append(options, "-k5key", hex.EncodeToString(key), "-k5type", strconv.Itoa(int(enctype)), "-kvno", strconv.Itoa(openafs.AESKeyVersion))
			} else {
				options = append(options, "-k5key", openafs.AESKey) // or it does not know of Kerberos 5
			}
			librx := rig.Peer(t, netip.AddrPort{}, options...)
			keys := rxkad.KeysFunc(func(q rxkad.KeyQuery) (rxkad.Key, error) {
				want := rxkad.KeyQuery{Service: q.Service, Version: openafs.AESKeyVersion, EncType: enctype}
				if enctype <= desMD5 {
					want.Version, want.EncType = openafs.KeyVersion, rxkad.DES
				}
				if q != want {
					return rxkad.Key{}, rxkad.ErrNoKey
				}
				return rxkad.NewKey(key), nil
			})
			w := &who{seen: map[string]int{}}
			ours := serve(t, netip.AddrPortFrom(rig.Loopback, 0), rxkad.ServerConfig{Keys: keys, Authorize: w.saw}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}})
			for _, session := range []int32{desCRC, desMD5, des3, 17, 18, rc4} {
				for _, whole := range []bool{false, true} {
					token := ticket5(t, enctype, session, whole)
					for _, l := range levels {
						about := fmt.Sprintf("session key %d, whole %v, level %v", session, whole, l)
						c := dial(t, librx.Addr, secured(t, token, l))
						reply, err := c.Do(soon(t), whoAmI)
						require.NoError(t, err, about)
						assert.Contains(t, string(reply), "tester", about)
						require.NoError(t, c.Echo(soon(t), []byte(about)), about)
						require.NoError(t, dial(t, ours, secured(t, token, l)).Echo(soon(t), []byte(about)), about)
						assert.Positive(t, w.count(fmt.Sprintf("tester@rig.test %v %d", l, token.Version)), about)
					}
				}
			}
		})
	}
}
