package natsbridge

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// storeKind is what is asked of the store.
type storeKind uint8

const (
	storeGet    storeKind = iota + 1
	storeCreate           // errStoreExists if it is there
	storeUpdate           // errStoreExists if its revision is another
	storeDelete           // likewise
)

// bucket is one of the two of docs/hosts.md, "The store".
type bucket uint8

const (
	bucketHosts bucket = iota + 1
	bucketIDs
)

// storeOp is one operation on the store, and what is to be done then.
type storeOp struct {
	kind   storeKind
	bucket bucket
	key    string
	value  []byte
	rev    uint64
	then   func(storeResult)
}

type storeResult struct {
	value []byte
	rev   uint64
	err   error
}

var (
	errStoreExists   = errors.New("the key is there, or has another revision")
	errStoreNotFound = errors.New("no such key")
)

const storeHeaderLen = 16

// storeValue is what every value begins with.
type storeValue struct {
	host uint16
	run  uint64
	// Of an id.
	info connector.IDInfo
	// Of a lease and of a number.
	name string
}

func appendStoreHeader(b []byte, host uint16, run uint64) []byte {
	b = le.AppendUint32(b, wireMagic)
	b = append(b, wireVersion, 0)
	b = le.AppendUint16(b, host)
	return le.AppendUint64(b, run)
}

func leaseValue(host uint16, run uint64, name string) []byte {
	return append(appendStoreHeader(nil, host, run), name...)
}

func idValue(host uint16, run uint64, info *connector.IDInfo) []byte {
	b := appendStoreHeader(nil, host, run)
	b = appendU32s(b, info.Port, info.Owner.UID, info.Owner.GID, info.Owner.PID)
	return append(b, info.Name...)
}

func parseStoreHeader(b []byte) (v storeValue, rest []byte, err error) {
	switch {
	case len(b) < storeHeaderLen:
		return v, nil, fmt.Errorf("%w: value of %d bytes in the store", errRecord, len(b))
	case le.Uint32(b) != wireMagic:
		return v, nil, errMagic
	case b[4] != wireVersion:
		return v, nil, fmt.Errorf("%w: %d", errVersion, b[4])
	}
	v.host, v.run = le.Uint16(b[6:]), le.Uint64(b[8:])
	if v.host == 0 || v.host > connector.MaxHost {
		return v, nil, fmt.Errorf("%w: %d", errHost, v.host)
	}
	return v, b[storeHeaderLen:], nil
}

// parseNamed reads the value of a lease or of a number.
func parseNamed(b []byte) (storeValue, error) {
	v, rest, err := parseStoreHeader(b)
	if err != nil {
		return v, err
	}
	f := fields{b: rest}
	v.name = f.name(1, MaxHostName)
	return v, f.end(0)
}

// parseOwner reads the value of an id.
func parseOwner(b []byte) (storeValue, error) {
	v, rest, err := parseStoreHeader(b)
	if err != nil {
		return v, err
	}
	f := fields{b: rest}
	v.info.Port, v.info.Owner = f.u32(), f.cred()
	v.info.Name = f.name(0, maxIDName)
	return v, f.end(0)
}

const maxIDName = 31

func leaseKey(host uint16) string  { return fmt.Sprintf("h.%d", host) }
func numberKey(host uint16) string { return fmt.Sprintf("n.%d", host) }
func idKey(id cbid.ID) string      { return fmt.Sprintf("i.%d.%d", id.Idx, id.Val) }

func (c *core) store(kind storeKind, b bucket, key string, value []byte, rev uint64, then func(storeResult)) {
	c.wire.Store(storeOp{kind: kind, bucket: b, key: key, value: value, rev: rev, then: func(r storeResult) {
		c.now = c.clock()
		then(r)
	}})
}
