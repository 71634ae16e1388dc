package klog

import (
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// The library's reader of caches trusts every length in them, so it is not used.

// A cache is what is used of a credential cache.
type cache struct {
	user  types.PrincipalName
	realm string
	home  *granting
}

func (c *cache) name() string { return c.user.PrincipalNameString() + "@" + c.realm }

func readCache(path string) (*cache, error) {
	path, err := cachePath(path)
	if err != nil {
		return nil, err
	}
	b, _, err := readFile(path)
	defer clear(b)
	if err != nil {
		return nil, fail("read", path, err)
	}
	c, err := parseCache(b)
	if err == nil && c.home == nil {
		err = fmt.Errorf("no ticket for a KDC of %s: %w", printable(c.realm), syscall.ENOENT)
	}
	if err != nil {
		return nil, fail("read", path, err)
	}
	return c, nil
}

var errCache = fmt.Errorf("not a credential cache, or a damaged one: %w", syscall.EINVAL)

// maxNames is how many components a name may have.
const maxNames = 16

// A reader takes a file apart; bad stays set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint32) []byte {
	if r.bad || uint64(n) > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) data() []byte { return r.take(r.u32()) }

// principal takes type | number of components | realm | components.
func (r *reader) principal() (types.PrincipalName, string) {
	p := types.PrincipalName{NameType: int32(r.u32())}
	n := r.u32()
	if n > maxNames {
		r.bad = true
	}
	realm := string(r.data())
	for i := uint32(0); i < n && !r.bad; i++ {
		p.NameString = append(p.NameString, string(r.data()))
	}
	return p, realm
}

// list skips a number of entries, each a type and data.
func (r *reader) list() {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		r.u16()
		r.data()
	}
}

func (r *reader) time() time.Time {
	if t := r.u32(); t != 0 {
		return time.Unix(int64(t), 0)
	}
	return time.Time{}
}

// parseCache parses versions 3 and 4 of the format:
//
//	5 | version | in version 4 tags, with their length, 2, before them | user | credentials ...
//
// where a credential is client | server | type of key 2, in version 3 twice | key | authenticated, begins, expires, renewable until,
// 4 each | 1 | flags 4 | addresses | authorization data | ticket | second ticket. The last ticket for the KDC of the user's realm
// counts.
func parseCache(b []byte) (*cache, error) {
	r := &reader{b: b}
	version := r.u16()
	if version != 0x503 && version != 0x504 {
		return nil, errCache
	}
	if version == 0x504 {
		r.take(uint32(r.u16()))
	}
	c := &cache{}
	c.user, c.realm = r.principal()
	if r.bad || len(c.user.NameString) == 0 || c.realm == "" {
		return nil, errCache
	}
	for len(r.b) > 0 {
		server, g, ticket := r.credential(version)
		if r.bad {
			c.home.wipe()
			return nil, errCache
		}
		if strings.Join(server.NameString, "/") != "krbtgt/"+c.realm {
			continue // also what MIT keeps of its own settings there
		}
		if guard(func() error { return g.ticket.Unmarshal(ticket) }) != nil {
			c.home.wipe()
			return nil, errCache
		}
		g.key.KeyValue = append([]byte(nil), g.key.KeyValue...)
		c.home.wipe()
		c.home = g
	}
	return c, nil
}

func (r *reader) credential(version uint16) (types.PrincipalName, *granting, []byte) {
	r.principal()
	server, _ := r.principal()
	g := &granting{ticket: messages.Ticket{}}
	g.key.KeyType = int32(int16(r.u16()))
	if version == 0x503 {
		r.u16()
	}
	g.key.KeyValue = r.data()
	authenticated := r.time()
	g.begins, g.expires, g.renewable = r.time(), r.time(), r.time()
	if g.begins.IsZero() {
		g.begins = authenticated
	}
	r.take(1)
	r.u32()
	r.list()
	r.list()
	ticket := r.data()
	r.data()
	return server, g, ticket
}
