//go:build linux

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	rxCaptures  = "../interop/testdata/pcap/openafs/"
	rxHeader    = 28
	rxNumber    = 8  // where a request has its number
	rxType      = 20 // where a packet has its type
	rxFromAsker = 21 // where bit 0 says that it is a request
	debugType   = "\x08"
)

// replay is an Rx endpoint that answers a debug request as OpenAFS's servers did
// when it was captured. It returns its address.
func replay(t *testing.T) string {
	t.Helper()
	answers := map[string][]byte{}
	for _, name := range []string{"rxdebug-stats.pcap", "rxdebug-version.pcap"} {
		asked := map[uint32]string{} // by number
		for _, b := range udpPayloads(t, rxCaptures+name) {
			n := binary.BigEndian.Uint32(b[rxNumber:])
			question := string(b[rxType]) + string(b[rxHeader:])
			if b[rxFromAsker]&1 != 0 {
				asked[n] = question
			} else if _, twice := answers[asked[n]]; !twice {
				answers[asked[n]] = b
			}
		}
	}
	require.Greater(t, len(answers), 40)
	// Nobody asked for the interesting connections: there were none.
	noConn := answers[debugType+"\x00\x00\x00\x03\x00\x00\x00\x16"]
	require.Equal(t, []byte{255, 255, 255, 255}, noConn[rxHeader+4:rxHeader+8])
	s, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			if n <= rxHeader {
				continue
			}
			a, ok := answers[string(b[rxType])+string(b[rxHeader:n])]
			if !ok {
				a = noConn
			}
			if b[rxFromAsker]&1 != 0 {
				copy(a[rxNumber:], b[rxNumber:rxNumber+4])
				_, _ = s.WriteTo(a, from)
			}
		}
	}()
	return s.LocalAddr().String()
}

func udpPayloads(t *testing.T, path string) [][]byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	require.NoError(t, err)
	var out [][]byte
	for {
		frame, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		if udp, ok := gopacket.NewPacket(frame, r.LinkType(), gopacket.Default).TransportLayer().(*layers.UDP); ok {
			out = append(out, udp.Payload)
		}
	}
}

// The text is what OpenAFS's rxdebug made of the same answers.
func TestRxDebugText(t *testing.T) {
	addr := replay(t)
	s := newSite(t)
	ours := strings.NewReplacer(strings.TrimPrefix(addr, "127.0.0.1:"), "7003")
	recorded := 0
	for _, name := range []string{"rxdebug-stats.txt", "rxdebug-version.txt"} {
		note, err := os.ReadFile(rxCaptures + name)
		require.NoError(t, err)
		for _, run := range strings.Split(string(note), "\n$ ")[1:] {
			command, theirs, _ := strings.Cut(run, "\n")
			theirs = strings.TrimSuffix(theirs, "\n") + "\n"
			theirs = regexp.MustCompile(`(?s)\d+ packets captured.*`).ReplaceAllString(theirs, "")
			m := regexp.MustCompile(`^rxdebug 127\.0\.0\.1 7003 ([a-z -]+?)( \| head -\d+)?$`).FindStringSubmatch(command)
			require.NotNil(t, m, command)
			args := []string{"rx", "debug", addr}
			for _, f := range strings.Fields(m[1]) {
				args = append(args, "-"+f)
			}
			out := ours.Replace(s.ok(args...))
			if m[2] != "" {
				assert.True(t, strings.HasPrefix(out, theirs), "%s\n--- theirs\n%s\n--- ours\n%s", command, theirs, out)
			} else {
				assert.Equal(t, theirs, out, command)
			}
			recorded++
		}
	}
	assert.Equal(t, 4, recorded)
}

func TestRxDebugFilters(t *testing.T) {
	addr := replay(t)
	s := newSite(t)
	conns := func(args ...string) int {
		t.Helper()
		return strings.Count(s.ok(append([]string{"rx", "debug", addr, "--allconnections"}, args...)...), "Connection from host")
	}
	assert.Equal(t, 22, conns())
	assert.Equal(t, 22, conns("--onlyserver", "--onlyauth", "none", "--onlyhost", "localhost"))
	assert.Zero(t, conns("--onlyclient"))
	assert.Zero(t, conns("--onlyauth", "crypt"))
	assert.Zero(t, conns("--onlyhost", "192.0.2.1"))
	assert.Equal(t, 1, conns("--onlyport", "36888"))
	assert.Zero(t, conns("--noconns"))
	assert.Contains(t, s.ok("rx", "debug", addr, "--allconnections", "--nodally"), "Skipped 22 dallying connections.\n")
	out := s.ok("rx", "debug", addr, "--peers", "--noconns", "--onlyport", "7000", "--long")
	assert.Equal(t, 1, strings.Count(out, "Peer at host"), out)
	assert.Contains(t, out, "jumbogram size")
}

func TestRxDebugJSON(t *testing.T) {
	addr := replay(t)
	s := newSite(t)
	out := s.ok("rx", "debug", addr, "--json", "--allconnections", "--peers", "--rxstats")
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		var v map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &v), line)
		require.Len(t, v, 1)
		for k := range v {
			kinds[k]++
		}
	}
	assert.Equal(t, map[string]int{"stats": 1, "rx_stats": 1, "conn": 22, "peer": 22}, kinds)
	assert.JSONEq(t, `{"version":"OpenAFS 1.8.9-1+deb12u1-debian 2024-12-25"}`, s.ok("rx", "debug", addr, "--version", "--json"))
}

func TestRxDebugFails(t *testing.T) {
	s := newSite(t)
	mute, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	r := s.run("cnbus", "rx", "debug", mute.LocalAddr().String(), "--wait", "1ms", "--tries", "3")
	assert.Equal(t, 3, r.code, "%+v", r)
	assert.Contains(t, r.err, "no answer")

	gone := mute.LocalAddr().String()
	require.NoError(t, mute.Close())
	r = s.run("cnbus", "rx", "debug", gone)
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "connection refused")

	for _, args := range [][]string{
		{}, {"a", "b"}, {"localhost:0"}, {"localhost:70000"}, {"localhost:x"}, {"localhost", "--onlyauth", "all"}, {"localhost", "--tries", "0"},
	} {
		r := s.run("cnbus", append([]string{"rx", "debug"}, args...)...)
		assert.Equal(t, 2, r.code, "%v: %+v", args, r)
	}
}
