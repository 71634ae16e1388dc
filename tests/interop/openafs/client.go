//go:build linux

package openafs

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
)

// A Client is OpenAFS's commands in a cell whose database server is somebody
// else's: ours, under test. vos and pts find it on UDP ports 7003 and 7002.
type Client struct{ root *root }

// NewClient makes a client of the database server at addr. If key has 8 bytes, it is
// the cell's DES key with version KeyVersion, and -localauth works.
func NewClient(addr netip.Addr, key []byte) (*Client, error) {
	r, err := newRoot(addr)
	if err != nil {
		return nil, err
	}
	if key != nil {
		if err := r.keyFile(key, KeyVersion); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return &Client{r}, nil
}

// Run runs a command to its end or to that of ctx.
func (c *Client) Run(ctx context.Context, name string, args ...string) (Result, error) {
	return c.root.run(ctx, name, args...)
}

// Close removes the client's files.
func (c *Client) Close() error { return c.root.close() }

// keyFile writes the DES key: the number of keys, and for each its version and
// its eight bytes.
func (r *root) keyFile(key []byte, version uint32) error {
	if len(key) != 8 {
		return fmt.Errorf("openafs: a DES key has 8 bytes, not %d", len(key))
	}
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint32(b, version)
	return r.write("etc/openafs/server/KeyFile", string(append(b, key...)))
}

// DESKey is Key as bytes.
func DESKey() []byte {
	b, err := hex.DecodeString(Key)
	if err != nil {
		panic(err) // a constant
	}
	return b
}
