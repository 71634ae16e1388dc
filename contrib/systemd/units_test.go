// Package systemd_test checks the units with systemd's own tools, and what
// those cannot know.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

// units copies the units of dir to a temporary directory, with a program that
// exists in the place of the installed one and with old replaced by new.
func units(t *testing.T, dir, old, new string) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	tmp := t.TempDir()
	var paths []string
	for _, name := range []string{"cnbus.service", "cnbus.socket"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		text := strings.ReplaceAll(string(b), old, new)
		text = strings.ReplaceAll(text, "/usr/bin/cnbus", self)
		paths = append(paths, filepath.Join(tmp, name))
		require.NoError(t, os.WriteFile(paths[len(paths)-1], []byte(text), 0o644))
	}
	return paths
}

// analyze runs systemd-analyze and returns all it says.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		testenv.Skip(t, "no systemd-analyze: package systemd")
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ofOurs returns the lines of out that are about units of this project: the tool also reads, and blames,
// those of the machine that they stand in some relation to.
func ofOurs(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if strings.Contains(line, "cnbus") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestUnitsVerify(t *testing.T) {
	for _, c := range []struct{ dir, mode string }{{".", "--system"}, {"user", "--user"}} {
		t.Run(c.mode, func(t *testing.T) {
			out, err := analyze(t, append([]string{c.mode, "--man=no", "verify"}, units(t, c.dir, "", "")...)...)
			require.NoError(t, err, out)
			assert.Empty(t, ofOurs(out))

			// The tool only warns of a directive that it does not know.
			out, _ = analyze(t, append([]string{c.mode, "--man=no", "verify"}, units(t, c.dir, "NoNewPrivileges", "NoNewPrivilege")...)...)
			assert.Contains(t, out, "NoNewPrivilege")
		})
	}
}

// TestExposure bounds what an attacker who has taken over the broker can do, in
// systemd's measure (0 to 10).
func TestExposure(t *testing.T) {
	check := func(old, new string) error {
		out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold=25", units(t, ".", old, new)[0])
		t.Log(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:])
		return err
	}
	require.NoError(t, check("", ""))
	require.Error(t, check("CapabilityBoundingSet", "#"))
}

// settings returns the values of each key of a unit, in order.
func settings(t *testing.T, name string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	m := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(key, "#") {
			m[key] = append(m[key], value)
		}
	}
	return m
}

// TestProcessEventsReachTheService pins what must stay off: the kernel tells of
// processes only to the initial user, pid and network namespaces.
func TestProcessEventsReachTheService(t *testing.T) {
	host, user := settings(t, "cnbus.service"), settings(t, "user/cnbus.service")
	for _, key := range []string{"PrivateUsers", "PrivatePIDs", "PrivateNetwork", "NetworkNamespacePath", "ProtectProc", "ProcSubset", "DynamicUser"} {
		assert.NotContains(t, host, key)
		assert.NotContains(t, user, key)
	}
	for key := range user {
		for _, prefix := range []string{"Private", "Protect", "ReadOnly", "Inaccessible", "Temporary"} {
			assert.False(t, strings.HasPrefix(key, prefix), "%s makes a user namespace for a user's service", key)
		}
	}
	for _, unit := range []map[string][]string{host, user} {
		assert.Equal(t, []string{"notify"}, unit["Type"])
		assert.Equal(t, []string{"/bin/kill -HUP $MAINPID"}, unit["ExecReload"])
		assert.Contains(t, unit["RestrictAddressFamilies"][0], "AF_NETLINK")
	}
	assert.Equal(t, []string{"CAP_NET_ADMIN"}, host["CapabilityBoundingSet"])
}

// TestSocketPaths holds the units against the places where clients look.
func TestSocketPaths(t *testing.T) {
	b, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	for dir, path := range map[string]struct{ unit, flags, documented string }{
		".":    {"/run/cnbus/cnbus.sock", " --policy system", "`/run/cnbus/cnbus.sock`"}, // it does not run as root
		"user": {"%t/cnbus/cnbus.sock", "", "`$XDG_RUNTIME_DIR/cnbus/cnbus.sock`"},
	} {
		assert.Equal(t, []string{path.unit}, settings(t, filepath.Join(dir, "cnbus.socket"))["ListenStream"])
		assert.Equal(t, []string{"/usr/bin/cnbus serve --socket " + path.unit + path.flags}, settings(t, filepath.Join(dir, "cnbus.service"))["ExecStart"])
		assert.Contains(t, string(b), path.documented)
	}
}
