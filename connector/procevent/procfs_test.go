package procevent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestContainerID(t *testing.T) {
	for cgroup, want := range map[string]string{
		"/docker/" + hash:                         hash,
		"/system.slice/docker-" + hash + ".scope": hash,
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + hash + ".scope": hash,
		"/machine.slice/libpod-" + hash + ".scope/container":                    hash,
		"/docker/" + hash + "/init.scope":                                       hash,
		"/lxc.payload.web/system.slice":                                         "web",
		"/lxc/web":                                                              "web",
		"/user.slice/user-1000.slice":                                           "",
		"/docker/" + hash[1:]:                                                   "",
		"/docker/" + hash + "0":                                                 "",
		"":                                                                      "",
		"/":                                                                     "",
		"/system.slice/docker-" + hash + ".scope/" + strings.Repeat("a", 63):                      hash,
		"/system.slice/crio-" + hash + ".scope":                                                   hash,
		"/system.slice/" + strings.ToUpper(hash):                                                  "",
		"/kubepods/besteffort/pod" + "b0d9a6c4-0000-4000-8000-000000000000" + "/" + hash + "/sub": hash,
	} {
		assert.Equal(t, want, containerID(cgroup), cgroup)
	}
}

func TestParseCgroup(t *testing.T) {
	assert.Equal(t, "/a/b:c", parseCgroup([]byte("0::/a/b:c\n")))
	assert.Equal(t, "/new", parseCgroup([]byte("4:cpu:/old\n0::/new\n")))
	assert.Equal(t, "/old", parseCgroup([]byte("4:cpu:/old\n0::/\n")), "nothing but the root is in the unified one")
	assert.Equal(t, "/", parseCgroup([]byte("0::/\n")))
	assert.Empty(t, parseCgroup([]byte("nonsense\n\n::")))
}

// A name may have spaces and parentheses in it.
func TestParseStat(t *testing.T) {
	const tail = " S 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 3 0 12345 0\n"
	for _, name := range []string{"x", "a b", ") S 1 (", "((", "a\nb"} {
		parent, threads, start, err := parseStat([]byte("42 (" + name + ")" + tail))
		require.NoError(t, err, name)
		assert.EqualValues(t, 7, parent)
		assert.Equal(t, 3, threads)
		assert.EqualValues(t, 12345, start)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2", "42 (x)" + strings.Replace(tail, "7", "seven", 1)} {
		_, _, _, err := parseStat([]byte(bad))
		assert.ErrorIs(t, err, connector.ErrProtocol, bad)
	}
}

func TestParseStatus(t *testing.T) {
	uid, gid, err := parseStatus([]byte("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t100\t1\t1\t1\n"))
	require.NoError(t, err)
	assert.Equal(t, [2]uint32{1000, 100}, [2]uint32{uid, gid})
	for _, bad := range []string{"", "Uid:\t1\n", "Uid:\nGid:\t1\n", "Uid:\t-1\nGid:\t1\n", "Uid:\t4294967296\nGid:\t1\n"} {
		_, _, err := parseStatus([]byte(bad))
		assert.ErrorIs(t, err, connector.ErrProtocol, bad)
	}
}

func TestReadProcess(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "42")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, text := range map[string]string{
		"stat":    "42 (x) S 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 3 0 5 0\n",
		"status":  "Uid:\t1\t0\t0\t0\nGid:\t2\t0\t0\t0\n",
		"cgroup":  "0::/docker/" + hash + "\n",
		"cmdline": "sh\x00-c\x00\x00" + strings.Repeat("x", 2*maxCmdline),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	require.NoError(t, os.Symlink("/bin/sh", filepath.Join(dir, "exe")))
	p, err := readProcess(root, 42, EnrichAll)
	require.NoError(t, err)
	assert.Equal(t, "/bin/sh", p.Exe)
	assert.Equal(t, hash, p.ContainerID)
	assert.Equal(t, [2]uint32{1, 2}, [2]uint32{p.UID, p.GID})
	assert.Equal(t, []string{"sh", "-c", ""}, p.Cmdline[:3])
	assert.LessOrEqual(t, len(strings.Join(p.Cmdline, "")), maxCmdline)
	assert.EqualValues(t, 7, p.parent)
	p, err = readProcess(root, 42, EnrichUser)
	require.NoError(t, err)
	assert.Empty(t, p.Exe, "not asked for")
	_, err = readProcess(root, 43, EnrichAll)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzProcfs(f *testing.F) {
	f.Add([]byte("42 (x) S 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 3 0 5 0\n"))
	f.Add([]byte("Uid:\t1\t0\t0\t0\nGid:\t2\t0\t0\t0\n"))
	f.Add([]byte("4:cpu:/old\n0::/docker/" + hash + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _, _ = parseStat(b)
		_, _, _ = parseStatus(b)
		if id := containerID(parseCgroup(b)); id != "" {
			require.Contains(t, string(b), id)
		}
	})
}
