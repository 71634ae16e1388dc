package keyring

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

func words(w ...uint32) (b []byte) {
	for _, x := range w {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func keyFile(keys ...string) []byte {
	b := words(uint32(len(keys)))
	for i, k := range keys {
		b = append(append(b, words(uint32(3+i))...), k...)
	}
	return b
}

func keyFileExt() []byte {
	b := append(words(3, 16, 2, 5, 18, 32), aesKey...)
	b = append(append(b, words(16, 1, 1, 18, 32)...), aesKey...) // rxgk
	return append(append(b, words(20, 2, 6, 17, 0xdeadbeef, 16)...), aesKey[:16]...)
}

func testKeytab(t testing.TB) []byte {
	t.Helper()
	k := keytab.New()
	require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "password", time.Unix(1700000000, 0), 7, 18))
	require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "password", time.Unix(1700000000, 0), 8, 23))
	b, err := k.Marshal()
	require.NoError(t, err)
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	tmp := path + ".new" // as a careful administrator does
	require.NoError(t, os.WriteFile(tmp, b, 0o600))
	require.NoError(t, os.Rename(tmp, path))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	files := Directory(dir)
	all := rxkad.MoreKeys(files[0], files[1], files[2])
	des3, aes5 := rxkad.KeyQuery{Service: 52, Version: 3}, rxkad.KeyQuery{Service: 52, Version: 5, EncType: 18}
	refused(t, second(files[2].ServerKey(des3)), errno.NoKey, "no file")
	require.ErrorIs(t, second(LocalAuth(files...)), errno.NoKey)

	path := filepath.Join(dir, "KeyFile")
	write(t, path, keyFile(desKey))
	k, err := all.ServerKey(des3)
	require.NoError(t, err)
	assert.True(t, k.Equal(rxkad.NewKey([]byte(desKey))))
	token, err := LocalAuth(files...)
	require.NoError(t, err)
	assert.EqualValues(t, 3, token.Version)

	write(t, path, append(keyFile("\xfe\xdc\xba\x98\x76\x54\x32\x10", desKey), make([]byte, 72)...))
	_, err = all.ServerKey(des3)
	require.NoError(t, err)
	assert.Zero(t, k.Len(), "the old one is wiped")
	require.NoError(t, second(all.ServerKey(rxkad.KeyQuery{Version: 4})))
	require.ErrorIs(t, second(all.ServerKey(rxkad.KeyQuery{Version: 5})), errno.NoKey)

	write(t, filepath.Join(dir, "KeyFileExt"), keyFileExt())
	require.NoError(t, second(all.ServerKey(aes5)))
	require.NoError(t, second(all.ServerKey(rxkad.KeyQuery{Version: 6, EncType: 17})))
	token, err = LocalAuth(files...)
	require.NoError(t, err)
	assert.Equal(t, rxkad.Kerberos5Part, token.Version, "the better key")

	write(t, filepath.Join(dir, "rxkad.keytab"), testKeytab(t))
	require.NoError(t, second(all.ServerKey(rxkad.KeyQuery{Version: 7, EncType: 18})))
	require.NoError(t, second(all.ServerKey(rxkad.KeyQuery{Version: 8, EncType: 23})))

	write(t, path, []byte("half"))
	require.NoError(t, second(all.ServerKey(des3)), "a file that makes no sense does not count")
	fresh := KeyFile(path)
	refused(t, second(fresh.ServerKey(des3)), syscall.EINVAL)
	require.NoError(t, os.Remove(path))
	refused(t, second(files[2].ServerKey(des3)), errno.NoKey, "but one that is gone does")
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "KeyFile")
	q := rxkad.KeyQuery{Version: 3}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o777} {
		write(t, path, keyFile(desKey))
		require.NoError(t, os.Chmod(path, mode))
		refused(t, second(KeyFile(path).ServerKey(q)), syscall.EACCES, mode)
	}
	write(t, path, keyFile(desKey))
	f := KeyFile(path)
	k, err := f.ServerKey(q)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o644))
	refused(t, second(f.ServerKey(q)), syscall.EACCES, "also later")
	assert.Zero(t, k.Len())
	require.NoError(t, os.Chmod(path, 0o400))
	require.NoError(t, second(f.ServerKey(q)))
	f.Wipe()
	require.NoError(t, second(f.ServerKey(q)))
	refused(t, second(KeyFile(filepath.Dir(path)).ServerKey(q)), syscall.EACCES, "a directory")
}

func TestFilesCutShort(t *testing.T) {
	for name, c := range map[string]struct {
		b     []byte
		parse func([]byte) ([]fileKey, error)
	}{"KeyFile": {keyFile(desKey, desKey), parseKeyFile}, "KeyFileExt": {keyFileExt(), parseKeyFileExt}} {
		keys, err := c.parse(c.b)
		require.NoError(t, err)
		require.Len(t, keys, 2, name)
		for n := range c.b {
			_, err := c.parse(c.b[:n])
			require.ErrorIs(t, err, ErrFormat, "%s cut to %d", name, n)
		}
	}
	b := testKeytab(t)
	for n := range b {
		keys, err := parseKeytab(b[:n])
		if err == nil {
			require.Less(t, len(keys), 2, n)
		}
	}
}

func fuzzFile(f *testing.F, parse func([]byte) ([]fileKey, error), seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parse(b)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			require.Equal(t, ErrFormat.Error(), err.Error(), "nothing of the file is in the error")
			return
		}
		require.LessOrEqual(t, len(keys), len(b)/8)
		for _, k := range keys {
			n, ok := rxkad.KeySize(k.enctype)
			require.True(t, ok)
			require.Equal(t, n, k.key.Len())
		}
	})
}

func FuzzKeyFile(f *testing.F)    { fuzzFile(f, parseKeyFile, keyFile(), keyFile(desKey, desKey)) }
func FuzzKeyFileExt(f *testing.F) { fuzzFile(f, parseKeyFileExt, words(0), keyFileExt()) }
func FuzzKeytab(f *testing.F)     { fuzzFile(f, parseKeytab, []byte{5, 2}, testKeytab(f)) }

func FuzzServiceName(f *testing.F) {
	f.Add("52:2")
	f.Add("52:2:5:18")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseService(s); err == nil {
			require.Equal(t, s, describeService(n.query, n.bare))
		}
	})
}

// TestReadKeytab: what is in a keytab, whose it is, and what each key is called as one of a service.
func TestReadKeytab(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keytab")
	k := keytab.New()
	when := time.Unix(1700000000, 0)
	require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "password", when, 7, 18))
	require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "other", when, 7, 18)) // never asked for: the first counts
	require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "password", when, 8, 17))
	require.NoError(t, k.AddEntry("host", "EXAMPLE.COM", "password", when, 8, 17))
	b, err := k.Marshal()
	require.NoError(t, err)
	write(t, path, b)
	keys, err := ReadKeytab(path)
	require.NoError(t, err)
	var all []string
	for _, k := range keys {
		all = append(all, k.Principal+" "+k.Description(52))
	}
	assert.Equal(t, []string{"afs/example.com@EXAMPLE.COM 52:2:7:18", "afs/example.com@EXAMPLE.COM 52:2:8:17", "host@EXAMPLE.COM 52:2:8:17"}, all)
	f := Keytab(path)
	first, err := f.ServerKey(rxkad.KeyQuery{Version: 7, EncType: 18})
	require.NoError(t, err)
	assert.True(t, first.Equal(keys[0].Key))
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = ReadKeytab(path)
	require.ErrorIs(t, err, ErrMode)
	write(t, path, b[:len(b)-1])
	_, err = ReadKeytab(path)
	require.ErrorIs(t, err, ErrFormat)
	_, err = ReadKeytab(path + ".none")
	require.ErrorIs(t, err, os.ErrNotExist)
}
