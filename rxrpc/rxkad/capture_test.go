package rxkad

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// captureDir has what OpenAFS 1.8.9 and Linux 6.12 and 7.2 said to each other and to themselves.
const captureDir = "../../tests/interop/testdata/pcap"

type captured struct {
	at   time.Time
	data []byte
}

func readCapture(t testing.TB, path string) (out []captured) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var plain io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		plain, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	r, err := pcapgo.NewReader(plain)
	require.NoError(t, err)
	defrag := ip4defrag.NewIPv4Defragmenter()
	for {
		frame, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		ip, ok := gopacket.NewPacket(frame, r.LinkType(), gopacket.Default).NetworkLayer().(*layers.IPv4)
		if !ok || ip.Protocol != layers.IPProtocolUDP {
			continue
		}
		if ip, err = defrag.DefragIPv4(ip); ip == nil {
			require.NoError(t, err)
			continue
		}
		var udp layers.UDP
		require.NoError(t, udp.DecodeFromBytes(ip.Payload, gopacket.NilDecodeFeedback))
		out = append(out, captured{ci.Timestamp, udp.Payload})
	}
}

// A replay is a captured connection, seen through our own two ends.
type replay struct {
	id        proto.ConnID
	challenge []byte
	server    proto.SecurityConn
	client    proto.SecurityConn // once the response has shown the session key
	early     []captured
	refusal   error
}

// totals is what was found in all captures.
type totals struct {
	responses, refusals int
	opened              [3]int // DATA packets, by level
	bytes               [3]int
	versions            map[uint32]int
	who                 map[string]int
}

// Every captured exchange is decoded to what was in it and encoded again to the same bytes, in both
// directions; what was refused is refused with the same code.
func TestCaptures(t *testing.T) {
	sum := totals{versions: map[uint32]int{}, who: map[string]int{}}
	require.NoError(t, filepath.WalkDir(captureDir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".pcap") {
			t.Run(filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path), func(t *testing.T) {
				replayCapture(t, readCapture(t, path), &sum)
			})
		}
		return err
	}))
	t.Logf("%+v", sum)
	assert.GreaterOrEqual(t, sum.responses, 20)
	assert.GreaterOrEqual(t, sum.refusals, 3)
	for l := range sum.opened {
		assert.GreaterOrEqual(t, sum.opened[l], 20, Level(l))
		assert.GreaterOrEqual(t, sum.bytes[l], 2000, Level(l))
	}
	assert.Greater(t, sum.versions[Kerberos5Part], 1)
	assert.Greater(t, sum.versions[3], 1, "of a Kerberos 4 key")
	assert.Greater(t, sum.who["afs"], 5, "-localauth")
	assert.Greater(t, sum.who["kx@EXAMPLE.COM"], 5, "of the kernel's client")
}

func replayCapture(t *testing.T, packets []captured, sum *totals) {
	conns := map[[2]uint32]*replay{}
	for _, p := range packets {
		h, body, err := wire.ParseHeader(p.data)
		if err != nil || h.Security != wire.SecurityRxKAD {
			continue
		}
		key := [2]uint32{uint32(h.Epoch), uint32(h.CID.ConnID())}
		c := conns[key]
		if c == nil {
			c = &replay{id: proto.ConnID{Epoch: h.Epoch, CID: h.CID.ConnID(), Service: h.Service}}
			conns[key] = c
		}
		switch h.Type {
		case wire.TypeChallenge:
			c.challenged(t, body)
		case wire.TypeResponse:
			c.responded(t, p, body, sum)
		case wire.TypeData:
			if c.client == nil {
				c.early = append(c.early, p)
				continue
			}
			c.data(t, p, sum)
		case wire.TypeAbort:
			if h.Call == 0 && c.refusal != nil {
				code, err := wire.ParseAbort(body)
				require.NoError(t, err)
				assert.ErrorIs(t, c.refusal, Code(code))
				sum.refusals++
			}
		}
	}
}

func (c *replay) challenged(t *testing.T, body []byte) {
	if c.challenge != nil {
		require.Equal(t, c.challenge, body, "repeated as it was")
		return
	}
	ch, err := parseChallenge(body)
	require.NoError(t, err)
	c.challenge = body
	got := ch.append(nil)
	copy(got[12:], body[12:]) // the spare word of OpenAFS is not always 0
	require.Equal(t, body, got)
}

// responded lets our server verify a response as if it had sent the challenge, and our client make the same.
func (c *replay) responded(t *testing.T, p captured, body []byte, sum *totals) {
	if c.server != nil {
		return // repeated
	}
	require.NotNil(t, c.challenge)
	srv := NewServer(ServerConfig{
		Rand: bytes.NewReader(c.challenge[4:8]),
		Now:  func() time.Time { return p.at },
		Keys: KeysFunc(func(q KeyQuery) (Key, error) {
			if q.Version == 1 && q.EncType == DES { // of the kernel's captures
				return key(t, desKey), nil
			}
			return cellKeys(t).ServerKey(q)
		}),
	})
	var err error
	c.server, err = srv.NewServer(c.id)
	require.NoError(t, err)
	before := bytes.Clone(body)
	_, c.refusal = c.server.Verify(0, body, calls{})
	require.Equal(t, before, body, "nothing is decrypted in place")
	sum.responses++
	if c.refusal != nil {
		return
	}
	s := c.server.(*serverConn).secure
	sum.versions[s.Version]++
	sum.who[s.Identity.String()]++
	token := &Token{Version: s.Version, Ticket: body[responseSize:], Session: NewKey(s.iv[:]), Expires: s.Expires}
	client := &Client{token: token, level: s.sealer.level, now: func() time.Time { return p.at }}
	c.client, err = client.NewClient(c.id)
	require.NoError(t, err)
	var sealed [40]byte
	s.cipher.Decrypt(sealed[:], body[sealedFrom:sealedTo], s.iv)
	var n calls
	for i := range n {
		n[i] = wire.CallNumber(binary.BigEndian.Uint32(sealed[16+4*i:]))
	}
	again, err := c.client.Respond(nil, c.challenge, n)
	require.NoError(t, err)
	require.Equal(t, body, again)
	for _, e := range c.early {
		c.data(t, e, sum)
	}
	c.early = nil
}

func (c *replay) data(t *testing.T, p captured, sum *totals) {
	h, body, err := wire.ParseHeader(p.data)
	require.NoError(t, err)
	subs, err := wire.SplitData(h, body)
	require.NoError(t, err)
	for h, body, ok := subs.Next(); ok; h, body, ok = subs.Next() {
		from, to := c.client, c.server
		if !h.FromClient() {
			from, to = to, from
		}
		id := proto.PacketID{Call: h.Call, Channel: h.CID.Channel(), Seq: h.Seq, ToServer: h.FromClient()}
		require.NoError(t, to.Check(id, h.Checksum))
		data, err := to.Open(nil, id, body)
		require.NoError(t, err)
		again, cksum, err := from.Seal(nil, id, data)
		require.NoError(t, err)
		require.Equal(t, h.Checksum, cksum)
		level := to.Describe().Level
		if level == uint8(Auth) && len(again) < len(body) { // Linux pads this level too
			again = append(again, make([]byte, (8-len(again)%8)%8)...)
		}
		if level == uint8(Encrypt) {
			again = c.padded(t, id, data, again, body)
		}
		require.Equal(t, body, again, "seq %d", h.Seq)
		sum.opened[level]++
		sum.bytes[level] += len(data)
	}
}

// padded encrypts again with the padding that the capture has: OpenAFS fills up with whatever was in
// memory. We never do (OPENAFS-SA-2015-007 is that of other fields).
func (c *replay) padded(t *testing.T, id proto.PacketID, data, ours, theirs []byte) []byte {
	s := &c.server.(*serverConn).secure.sealer
	require.Len(t, ours, len(theirs))
	used := encryptHeader + len(data)
	plain := make([]byte, len(ours))
	s.cipher.Decrypt(plain, ours, s.iv)
	require.Equal(t, make([]byte, len(plain)-used), plain[used:], "our padding is 0")
	s.cipher.Decrypt(plain, theirs, s.iv)
	out := s.layOut(nil, id, data)
	copy(out[used:], plain[used:])
	s.cipher.Encrypt(out, out, s.iv)
	return out
}
