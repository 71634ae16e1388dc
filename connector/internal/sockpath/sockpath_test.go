package sockpath

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

func listen(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

func TestTheEnvironmentComesFirstAndAlone(t *testing.T) {
	p := filepath.Join(t.TempDir(), "b.sock")
	t.Setenv(Env, p)
	assert.Equal(t, []string{p}, Search())
	assert.Equal(t, p, Listen())
	got, err := Find()
	assert.Equal(t, p, got)
	require.ErrorIs(t, err, connector.ErrNotFound)
	assert.ErrorContains(t, err, p, "the error says where was looked")

	listen(t, p)
	got, err = Find()
	require.NoError(t, err)
	assert.Equal(t, p, got)
}

func TestUsersBrokerBeforeTheHosts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Env, "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	want := filepath.Join(dir, "cnbus", "cnbus.sock")
	assert.Equal(t, []string{want, Host}, Search())
	listen(t, want)
	got, err := Find()
	require.NoError(t, err)
	assert.Equal(t, want, got)
	if os.Getuid() == 0 {
		assert.Equal(t, Host, Listen())
	} else {
		assert.Equal(t, want, Listen())
	}
}

func TestWithoutRuntimeDirItIsInTmp(t *testing.T) {
	t.Setenv(Env, "")
	for _, v := range []string{"", "relative/path"} {
		t.Setenv("XDG_RUNTIME_DIR", v)
		assert.Equal(t, "/tmp/cnbus-"+strconv.Itoa(os.Getuid())+"/cnbus.sock", User())
	}
}

func TestAFileIsNoSocket(t *testing.T) {
	p := filepath.Join(t.TempDir(), "b.sock")
	require.NoError(t, os.WriteFile(p, nil, 0o600))
	t.Setenv(Env, p)
	_, err := Find()
	assert.ErrorContains(t, err, "not a socket")
}

func TestDirectoriesOthersMayWriteToAreNotTrusted(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NoError(t, CheckDir(dir))
	require.NoError(t, os.Chmod(dir, 0o777))
	assert.ErrorContains(t, CheckDir(dir), "other users")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	assert.ErrorContains(t, CheckDir(link), "not a directory")
	assert.ErrorIs(t, CheckDir(filepath.Join(dir, "none")), os.ErrNotExist)
}
