package rxbench

import (
	"context"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/rxrpc/rxkad/fcrypt"
	"github.com/cnbus/cnbus/tests/bench/harness"
)

// rxpeer's key, and its version, if it is not told another.
var peerKey = [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}

const peerKeyVersion = 3

var levels = map[string]rxkad.Level{"clear": rxkad.Plain, "auth": rxkad.Auth, "crypt": rxkad.Encrypt}

// secureServer has the server want a ticket, if there is a level.
func (a *endArgs) secureServer(cfg *rxrpc.ServerConfig) *rxrpc.ServerConfig {
	if a.Level != "" {
		keys := rxkad.OneKey(peerKeyVersion, rxkad.NewKey(peerKey[:]))
		cfg.Security = []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: keys, MinLevel: levels[a.Level]})}
		cfg.Secured = true
	}
	return cfg
}

// clientConfig has the client show a ticket.
func (a *endArgs) clientConfig() (*rxrpc.ClientConfig, error) {
	cfg := &rxrpc.ClientConfig{}
	if a.Level == "" {
		return cfg, nil
	}
	token, err := rxkad.PrintTicket4(rxkad.NewKey(peerKey[:]), peerKeyVersion, rxkad.TicketRequest{Name: "tester"})
	if err != nil {
		return nil, err
	}
	cfg.Security, err = rxkad.NewClient(token, levels[a.Level])
	return cfg, err
}

// SecuritySuite is the suite of rxkad.
func SecuritySuite() harness.Suite {
	s := harness.Suite{Name: "rxkad"}
	for _, l := range []string{"clear", "auth", "crypt"} {
		what := fmt.Sprintf("one call, packets for 1500 bytes of MTU, level %s", l)
		s.Experiments = append(s.Experiments,
			bulk("bulk-"+l+"-up", what, endArgs{Level: l}, true, 2, 0),
			bulk("bulk-"+l+"-down", what, endArgs{Level: l}, false, 2, 0))
	}
	s.Experiments = append(s.Experiments, connections(),
		cipher("fcrypt-encrypt", "encrypt", "fcrypt-PCBC of packets of 1408 bytes on one core, several packets at a time: encryption", 1.5, encryptMany),
		cipher("fcrypt-decrypt", "decrypt", "decryption, a packet at a time", 1.5, decryptOne),
		cipher("fcrypt-encrypt-one", "encrypt", "encryption, a packet at a time", 0, encryptOne))
	return s
}

// connections compares calls that each need a challenge and a response first.
func connections() harness.Experiment {
	const callers = 8
	row := harness.Row{
		Name: "connections", What: fmt.Sprintf("authenticated connections set up, with a call on each, level crypt, callers: %d", callers),
		Against: peers, Unit: "connections/s", Higher: true, Want: 2,
	}
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, d time.Duration) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.fresh(ctx, callers, d) }
			}
			d, err := openDuel(ctx, env, endArgs{Level: "crypt", Calls: true, Open: 1 << 16}, func(s side) error {
				_, err := s.calls(ctx, 1, env.Time(time.Second, 100*time.Millisecond))
				return err
			})
			if err != nil {
				return nil, err
			}
			return meterFunc{d.cast, func(ctx context.Context, round int) ([]harness.Pair, error) {
				mine, rival, err := d.both(round, env.Pick(2, 1), run(ctx, env.Time(time.Second, 100*time.Millisecond)))
				return []harness.Pair{{Ours: mine.rate(), Rival: rival.rate(), Extra: map[string]float64{
					"p50 us": mine.p50, "p99 us": mine.p99, "rival p50 us": rival.p50, "rival p99 us": rival.p99,
				}}}, err
			}}, nil
		},
	}
}

// What the cipher works on: what a full packet has, and as many packets as are sealed at a time.
const (
	cipherBytes = 1408
	cipherBatch = 16
)

// cipherRun does op to all packets once. They are the same: the last of out is looked at.
type cipherRun func(c *fcrypt.Cipher, out [][]byte, in []byte)

func encryptMany(c *fcrypt.Cipher, out [][]byte, in []byte) {
	var pieces [cipherBatch]fcrypt.Piece
	for i := range pieces {
		pieces[i] = fcrypt.Piece{Dst: out[i], Src: in}
	}
	c.EncryptMany(pieces[:], peerKey)
}

func encryptOne(c *fcrypt.Cipher, out [][]byte, in []byte) {
	for _, o := range out {
		c.Encrypt(o, in, peerKey)
	}
}

func decryptOne(c *fcrypt.Cipher, out [][]byte, in []byte) {
	for _, o := range out {
		c.Decrypt(o, in, peerKey)
	}
}

// cipher compares our function with librxkad's fc_cbc_encrypt, in a C program. Both must have made the same of the same.
func cipher(name, op, what string, want float64, run cipherRun) harness.Experiment {
	row := harness.Row{Name: name, What: what, Against: "OpenAFS librxkad fc_cbc_encrypt, C", Unit: "MB/s", Higher: true, Want: want}
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(_ context.Context, env *harness.Env) (harness.Meter, error) {
			return meterFunc{&cast{env: env}, func(ctx context.Context, round int) ([]harness.Pair, error) {
				d := env.Time(time.Second, 20*time.Millisecond)
				var mine, rival float64
				var mySum, rivalSum uint64
				err := harness.Alternate(round, 1,
					func() error { mine, mySum = ourFCrypt(run, d); return nil },
					func() (err error) { rival, rivalSum, err = rivalFCrypt(ctx, op, d, cipherBytes); return err })
				if err == nil && mySum != rivalSum {
					err = fmt.Errorf("%s: the sum of a packet is %d, librxkad's %d", op, mySum, rivalSum)
				}
				return []harness.Pair{{Ours: mine / mb, Rival: rival / mb}}, err
			}}, nil
		},
	}
}

func ourFCrypt(run cipherRun, d time.Duration) (rate float64, sum uint64) {
	in, out := make([]byte, cipherBytes), make([][]byte, cipherBatch)
	for i := range in {
		in[i] = byte(31 * i)
	}
	for i := range out {
		out[i] = make([]byte, cipherBytes)
	}
	c := fcrypt.New(peerKey)
	n, start := 0, time.Now()
	for time.Since(start) < d {
		for range 4 {
			run(c, out, in)
			n += cipherBatch * cipherBytes
		}
	}
	took := time.Since(start)
	for _, b := range out[len(out)-1] {
		sum += uint64(b)
	}
	return float64(n) / took.Seconds(), sum
}
