package keyring

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A File is a file with keys of a server: KeyFile, KeyFileExt or Keytab makes one. It is looked at whenever a key is
// asked for, and read again if it has changed: an administrator who adds a key restarts nothing. A change that makes
// no sense, as while it is being written, does not count until it does.
//
// The keys are those of a cell: for all services.
type File struct {
	path  string
	parse func([]byte) ([]fileKey, error)

	mu   sync.Mutex // guards what follows
	seen stamp
	keys []fileKey
}

var _ rxkad.Keys = (*File)(nil)

// A fileKey is a key of a File.
type fileKey struct {
	version uint32
	enctype int32 // rxkad.DES or one of Kerberos
	key     rxkad.Key
}

// maxFile is the most that is read of a file, in bytes.
const maxFile = 1 << 20

// KeyFile is OpenAFS's file of DES keys, usually /etc/openafs/server/KeyFile.
func KeyFile(path string) *File { return &File{path: path, parse: parseKeyFile} }

// KeyFileExt is OpenAFS's file of Kerberos 5 keys, usually /etc/openafs/server/KeyFileExt.
func KeyFileExt(path string) *File { return &File{path: path, parse: parseKeyFileExt} }

// Keytab is a keytab of Kerberos, as OpenAFS 1.6 had its keys in rxkad.keytab; the names of the principals do not
// count.
func Keytab(path string) *File { return &File{path: path, parse: parseKeytab} }

// Directory returns the three files that OpenAFS's servers have keys in.
func Directory(dir string) []*File {
	return []*File{KeyFileExt(filepath.Join(dir, "KeyFileExt")), Keytab(filepath.Join(dir, "rxkad.keytab")), KeyFile(filepath.Join(dir, "KeyFile"))}
}

// ServerKey returns a key. Errors: an *Error with ErrNoKey, also if there is no file; ErrMode if others than its owner may
// read or change it, or if that is neither root nor this process's user; ErrFormat; those of reading it.
func (f *File) ServerKey(q rxkad.KeyQuery) (rxkad.Key, error) {
	keys, err := f.load()
	if err != nil {
		return rxkad.Key{}, err
	}
	for _, k := range keys {
		if k.version == q.Version && k.enctype == q.EncType {
			return k.key, nil
		}
	}
	return rxkad.Key{}, fail("use", f.path, ErrNoKey)
}

// load returns the keys as they are now.
func (f *File) load() ([]fileKey, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, now, private, err := openKeys(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.forget(nil)
		f.seen = stamp{}
		return nil, fail("read", f.path, ErrNoKey)
	}
	if err != nil {
		return nil, fail("read", f.path, err)
	}
	defer h.Close()
	if !private {
		f.forget(nil)
		f.seen = stamp{}
		return nil, fail("read", f.path, ErrMode)
	}
	if now == f.seen {
		return f.keys, nil
	}
	b, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	defer clear(b)
	if err != nil {
		return nil, fail("read", f.path, err)
	}
	keys, err := []fileKey(nil), ErrFormat
	if len(b) <= maxFile {
		keys, err = f.parse(b)
	}
	if err != nil {
		if f.keys != nil {
			return f.keys, nil
		}
		return nil, fail("read", f.path, err)
	}
	f.forget(keys)
	f.seen = now
	return keys, nil
}

// forget wipes the keys that are not in keys, which take their place.
func (f *File) forget(keys []fileKey) {
	for _, k := range f.keys {
		k.key.Wipe()
	}
	f.keys = keys
}

// Wipe forgets the keys; they are read again when one is asked for.
func (f *File) Wipe() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(nil)
	f.seen = stamp{}
}

// preferred are the encryption types of printed tickets, best first; DES if there is none.
var preferred = []int32{18, 17, 20, 19, 23, 16}

// LocalAuth makes the token of a program that can read a server's keys (-localauth), of the best key there is: one of
// Kerberos 5 first, of the newest version.
func LocalAuth(files ...*File) (*rxkad.Token, error) {
	var best fileKey
	rank := len(preferred) + 1
	failed := ErrNoKey
	for _, f := range files {
		keys, err := f.load()
		if err != nil && !errors.Is(err, ErrNoKey) {
			failed = err
		}
		for _, k := range keys {
			r := slices.Index(preferred, k.enctype)
			if k.enctype == rxkad.DES {
				r = len(preferred)
			}
			if r >= 0 && (r < rank || r == rank && k.version > best.version) {
				best, rank = k, r
			}
		}
	}
	switch {
	case rank > len(preferred):
		return nil, fail("make a token", "of a server's keys", failed)
	case best.enctype != rxkad.DES:
		return rxkad.LocalAuth5(best.key, best.version, best.enctype)
	case best.version > 255:
		return nil, fail("make a token", "of a server's keys", ErrFormat)
	}
	return rxkad.LocalAuth4(best.key, uint8(best.version))
}
