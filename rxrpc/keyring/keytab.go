package keyring

import (
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A KeytabKey is a key of a keytab that tickets for a service can be opened with.
type KeytabKey struct {
	Principal string // "afs/example.org@EXAMPLE.ORG"
	Version   uint32
	EncType   int32 // rxkad.DES or one of Kerberos, as in rxkad.KeyQuery
	Key       rxkad.Key
}

// Description is what a key of type TypeServer with it is called: "52:2:7:18".
func (k *KeytabKey) Description(service uint16) string {
	return describeService(rxkad.KeyQuery{Service: service, Version: k.Version, EncType: k.EncType}, false)
}

// ReadKeytab reads a keytab of Kerberos, the keys of encryption types that rxkad has, in order; the first of those with the same principal,
// version and type. Whom the tickets are for that a server takes, its keys say: so who makes keys of a keytab for others as well wants some of it.
// Errors: an *Error with ErrMode if others than its owner may read or change it, or if that is neither root nor this process's
// user; ErrFormat; those of reading it.
func ReadKeytab(path string) ([]KeytabKey, error) {
	h, _, private, err := openKeys(path)
	if err != nil {
		return nil, fail("read", path, err)
	}
	defer h.Close()
	if !private {
		return nil, fail("read", path, ErrMode)
	}
	b, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	defer clear(b)
	switch {
	case err != nil:
		return nil, fail("read", path, err)
	case len(b) > maxFile:
		return nil, fail("read", path, ErrFormat)
	}
	keys, err := parseKeytabKeys(b)
	if err != nil {
		return nil, fail("read", path, err)
	}
	return keys, nil
}

// openKeys opens a file with keys, and reports whether nobody else may read or change it.
func openKeys(path string) (h *os.File, now stamp, private bool, err error) {
	h, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // nobody is waited for, should it be a pipe
	if err != nil {
		return nil, stamp{}, false, err
	}
	st, err := h.Stat()
	if err != nil {
		_ = h.Close()
		return nil, stamp{}, false, err
	}
	now, private = stampOf(st)
	return h, now, private, nil
}

func parseKeytabKeys(b []byte) ([]KeytabKey, error) {
	t, err := unmarshalKeytab(b)
	if err != nil {
		return nil, err
	}
	type name struct {
		principal string
		version   uint32
		enctype   int32
	}
	var keys []KeytabKey
	seen := make(map[name]bool)
	for i := range t.Entries {
		e := &t.Entries[i]
		k := KeytabKey{
			Principal: strings.Join(e.Principal.Components, "/") + "@" + e.Principal.Realm, Version: e.KVNO, EncType: desType(e.Key.KeyType),
		}
		n := name{k.Principal, k.Version, k.EncType}
		if size, ok := rxkad.KeySize(k.EncType); ok && size == len(e.Key.KeyValue) && !seen[n] {
			seen[n] = true
			k.Key = rxkad.NewKey(e.Key.KeyValue)
			keys = append(keys, k)
		}
		clear(e.Key.KeyValue)
	}
	return keys, nil
}

// desType is the encryption type of a key as rxkad has it: all three of DES are one.
func desType(enctype int32) int32 {
	if enctype >= 1 && enctype <= 3 {
		return rxkad.DES
	}
	return enctype
}

// parseKeytab parses a keytab, whose principals do not count.
func parseKeytab(b []byte) ([]fileKey, error) {
	all, err := parseKeytabKeys(b)
	if err != nil {
		return nil, err
	}
	var keys []fileKey
	for _, k := range all {
		keys = append(keys, fileKey{k.Version, k.EncType, k.Key})
	}
	return keys, nil
}

// unmarshalKeytab has a keytab read by the library.
func unmarshalKeytab(b []byte) (*keytab.Keytab, error) {
	whole, err := checkKeytab(b)
	if err != nil {
		return nil, err
	}
	defer clear(whole)
	t := new(keytab.Keytab)
	if len(whole) > 2 && t.Unmarshal(whole) != nil {
		return nil, ErrFormat
	}
	return t, nil
}
