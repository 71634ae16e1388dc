//go:build linux

package rxdebug_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/rxdebug"
	"github.com/cnbus/cnbus/tests/interop/kernel"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// program builds cnbus.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cnbus")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/cnbus/cnbus/cmd/cnbus").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// What changes because somebody asks, and with time; and a name that differs
// between versions of OpenAFS.
var moving = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\bdebug \d+`), "debug N"},
	{regexp.MustCompile(`\bversion \d+`), "version N"},
	{regexp.MustCompile(`\b([Ff]ree packets:?|allocs) \d+`), "$1 N"},
	{regexp.MustCompile(`expires in [\d.]+ hours`), "expires in N hours"},
	{regexp.MustCompile(`Showing only rxkad_`), "Showing only "},
}

func still(text string) string {
	for _, m := range moving {
		text = m.re.ReplaceAllString(text, m.to)
	}
	return text
}

// same runs both programs, which must print the same of what does not move meanwhile: what ours says before and after theirs.
func same(t *testing.T, cnbus string, addr netip.AddrPort, flags ...string) string {
	t.Helper()
	for range 50 {
		if text, ok := compared(t, cnbus, addr, flags...); ok {
			return text
		}
	}
	require.FailNow(t, "it never stands still", "%v", flags)
	return ""
}

// compared is one attempt of same. It fails if something has moved.
func compared(t *testing.T, cnbus string, addr netip.AddrPort, flags ...string) (text string, ok bool) {
	t.Helper()
	args := []string{"rx", "debug", addr.String()}
	for _, f := range flags {
		if strings.HasPrefix(f, "-") {
			f = "-" + f
		}
		args = append(args, f)
	}
	ours := func() string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), cnbus, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	text = ours()
	theirs := rig.RxDebug(t, addr, flags...)
	if still(text) == still(theirs) {
		return text, true
	}
	if still(text) != still(ours()) {
		return "", false
	}
	assert.Equal(t, still(theirs), still(text), "%v", flags)
	return text, true
}

// Line by line what OpenAFS's rxdebug prints, of connections of all levels and of
// a call in progress.
func TestSameTextAsRxdebug(t *testing.T) {
	peer := rig.Peer(t, netip.AddrPort{})
	cnbus := program(t)
	for _, level := range []string{"null", "clear", "auth", "crypt"} {
		rig.PeerMust(t, peer.Addr, "-level", level, "-size 5000 echo")
	}
	rig.PeerClient(t, peer.Addr, "fail 4711")
	for _, flags := range []string{
		"-version", "-rxstats -noconns", "-allconnections", "-allconnections -nodally", "-noconns -peers", "-noconns -peers -long",
		"-allconnections -onlyauth crypt", "-allconnections -onlyauth none", "-allconnections -onlyserver", "-allconnections -onlyclient",
		"-allconnections -peers -onlyhost 127.0.0.1", "-allconnections -onlyport 9", "",
	} {
		same(t, cnbus, peer.Addr, strings.Fields(flags)...)
	}
	out := same(t, cnbus, peer.Addr, "-allconnections")
	assert.Equal(t, 5, strings.Count(out, "Connection from host"), out)
	for _, level := range []string{"clear", "auth", "crypt"} {
		assert.Contains(t, out, "rxkad: level "+level)
	}

	c, err := rxdebug.Dial(peer.Addr, nil)
	require.NoError(t, err)
	defer c.Close()
	active := func() bool { // and nothing is to be sent for a while: the request is acknowledged
		for conn, err := range c.Conns(t.Context(), false) {
			require.NoError(t, err)
			if conn.Calls[0].State == rxdebug.Active && conn.Serial >= 2 && conn.Security.Class == rxdebug.ClassRxKAD {
				return true
			}
		}
		return false
	}
	// A call that lasts longer than it takes to ask both, which nobody knows.
	for ms, over := 3000, false; !over; ms *= 2 {
		require.Less(t, ms, 200_000, "the call was never seen")
		done := make(chan error, 1)
		go func() {
			call, err := openafs.CallPeer(t.Context(), peer.Addr, "-level", "crypt", "delay", strconv.Itoa(ms))
			if err == nil && call.Code != 0 {
				err = fmt.Errorf("the call ended by %d", call.Code)
			}
			done <- err
		}()
		var err error
		for ended := false; !over && !ended; {
			select {
			case err = <-done:
				ended = true
			default:
				if active() {
					_, ok := compared(t, cnbus, peer.Addr)
					over = ok && active()
				}
			}
		}
		if over {
			err = <-done
		}
		require.NoError(t, err)
	}
}

// The servers of a cell answer too, and their counters count.
func TestServers(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{Mode: openafs.Auth})
	cnbus := program(t)
	for _, port := range []uint16{7002, 7003, 7007} {
		addr := netip.AddrPortFrom(rig.Addr, port)
		c, err := rxdebug.Dial(addr, nil)
		require.NoError(t, err)
		defer c.Close()
		text, err := c.Version(t.Context())
		require.NoError(t, err)
		assert.Contains(t, text, "OpenAFS")
		before, err := c.RxStats(t.Context())
		require.NoError(t, err)
		assert.NotZero(t, before.Calls, "the servers have talked to each other")
		cell.Must(t, "bos", "status", rig.Addr.String(), "-localauth")
		after, err := c.RxStats(t.Context())
		require.NoError(t, err)
		assert.Greater(t, after.PacketsRead[7], before.PacketsRead[7], "debug packets")
		same(t, cnbus, addr, "-version")
	}
}

// Linux tells its version, and refuses whatever else it is asked. (OpenAFS's
// program takes the refusals for records and goes on for ever.)
func TestKernel(t *testing.T) {
	vm := rig.VM(t, kernel.Config{Flavour: kernel.Newest})
	vm.Serve(t, "listening", "kx server -bind [::]:7009")
	c, err := rxdebug.Dial(vm.Port(7009), nil)
	require.NoError(t, err)
	defer c.Close()
	text, err := c.Version(t.Context())
	require.NoError(t, err)
	assert.Regexp(t, `^linux-\d+\.\d+\S* AF_RXRPC$`, text)
	_, err = c.Stats(t.Context())
	require.ErrorIs(t, err, rxdebug.ErrNotSupported)
	for _, err := range c.Peers(t.Context()) {
		require.ErrorIs(t, err, rxdebug.ErrNotSupported)
	}
}
