package rxkeys

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// OwnRing, as the number of a keyring, is the user's.
const OwnRing keyring.ID = 0

// Me, as a user id, is whoever asks.
const Me uint32 = rxmsg.OwnKeyring

// A Client manages the keys of its user in the agent of a bus; of root those of all. Errors are *rxmsg.Error, which wrap the errnos of
// add_key(2) and keyctl(2) and say for people what is wrong, or those of the bus: connector.ErrNoID if there is no agent.
type Client struct {
	Endpoint connector.Endpoint
	Host     uint32 // the number of the host of the site whose agent it is; 0: this one
}

// Add adds a key to a keyring, in place of one with the same type and description, and returns its number. It expires after timeout, if
// that is not 0, and never later than its tickets. On its way the payload is sealed: nobody who watches the bus sees it.
//
// Errors: EINVAL, EKEYREJECTED, EPROTONOSUPPORT for a payload that is none, ENODEV for the type, E2BIG for what no message has room for,
// ENOKEY for the keyring, EDQUOT.
func (c *Client) Add(ctx context.Context, typ keyring.Type, description string, payload []byte, ring keyring.ID, timeout time.Duration) (keyring.ID, error) {
	if timeout < 0 || timeout > math.MaxUint32*time.Second {
		return 0, fmt.Errorf("rxrpc keys: a timeout of %v: %w", timeout, syscall.EINVAL)
	}
	a := rxmsg.KeyAdd{Timeout: uint32((timeout + time.Second - 1) / time.Second), Type: string(typ), Description: description}
	h := rxmsg.Header{Op: rxmsg.OpKeyAdd, Arg: rxmsg.KeyArg(0, uint32(ring))}
	if len(payload) > 0 {
		_, public, err := c.call(ctx, rxmsg.OpKeySeal, 0, nil)
		if err != nil {
			return 0, err
		}
		if a.Payload, err = seal(public, typ, description, payload); err != nil {
			return 0, err
		}
		h.Flags |= rxmsg.FlagSealed
	}
	body, err := a.Append(nil)
	if err != nil {
		return 0, err
	}
	r, _, err := c.do(ctx, h, body)
	return keyring.ID(r.Value), err
}

// Search finds a key in a keyring and those in it. Errors: ENOKEY, EKEYREVOKED, EKEYEXPIRED, EACCES.
func (c *Client) Search(ctx context.Context, ring keyring.ID, typ keyring.Type, description string) (keyring.ID, error) {
	a := rxmsg.KeyAdd{Type: string(typ), Description: description}
	body, err := a.Append(nil)
	if err != nil {
		return 0, err
	}
	r, _, err := c.call(ctx, rxmsg.OpKeySearch, rxmsg.KeyArg(0, uint32(ring)), body)
	return keyring.ID(r.Value), err
}

// List describes the keys of a keyring. Errors: ENOKEY, ENOTDIR, EACCES.
func (c *Client) List(ctx context.Context, ring keyring.ID) ([]keyring.Info, error) {
	var all []keyring.Info
	for {
		r, b, err := c.call(ctx, rxmsg.OpKeyList, rxmsg.KeyArg(0, uint32(ring)), rxmsg.AppendU32(nil, uint32(len(all))))
		if err != nil {
			return nil, err
		}
		before := len(all)
		for len(b) > 0 {
			var k rxmsg.KeyInfo
			if k, b, err = rxmsg.ParseKeyInfo(b); err != nil {
				return nil, err
			}
			all = append(all, info(&k))
		}
		if len(all) >= int(r.Value) || len(all) == before {
			return all, nil
		}
	}
}

// Describe describes a key. Errors: ENOKEY.
func (c *Client) Describe(ctx context.Context, id keyring.ID) (keyring.Info, error) {
	_, b, err := c.call(ctx, rxmsg.OpKeyDescribe, rxmsg.KeyArg(uint32(id), 0), nil)
	if err != nil {
		return keyring.Info{}, err
	}
	k, _, err := rxmsg.ParseKeyInfo(b)
	return info(&k), err
}

// Keyring returns the number of a user's keyring: only root knows of those of others. Errors: ENOKEY.
func (c *Client) Keyring(ctx context.Context, uid uint32) (keyring.ID, error) {
	r, _, err := c.call(ctx, rxmsg.OpKeyKeyring, uint64(uid), nil)
	return keyring.ID(r.Value), err
}

// Revoke makes a key of no use; see keyring.Store.Revoke. Errors: ENOKEY, EACCES.
func (c *Client) Revoke(ctx context.Context, id keyring.ID) error {
	_, _, err := c.call(ctx, rxmsg.OpKeyRevoke, rxmsg.KeyArg(uint32(id), 0), nil)
	return err
}

// Unlink takes a key out of a keyring; one that is in none is gone. Errors: ENOKEY, ENOENT, EACCES.
func (c *Client) Unlink(ctx context.Context, id, ring keyring.ID) error {
	_, _, err := c.call(ctx, rxmsg.OpKeyUnlink, rxmsg.KeyArg(uint32(id), uint32(ring)), nil)
	return err
}

// Link puts a key into a keyring. Errors: as of keyring.Store.Link.
func (c *Client) Link(ctx context.Context, id, ring keyring.ID) error {
	_, _, err := c.call(ctx, rxmsg.OpKeyLink, rxmsg.KeyArg(uint32(id), uint32(ring)), nil)
	return err
}

// Clear takes all keys out of a keyring. Errors: ENOKEY, EACCES.
func (c *Client) Clear(ctx context.Context, ring keyring.ID) error {
	_, _, err := c.call(ctx, rxmsg.OpKeyClear, rxmsg.KeyArg(0, uint32(ring)), nil)
	return err
}

// SetPerm changes the permissions of a key. Errors: ENOKEY, EACCES, EINVAL.
func (c *Client) SetPerm(ctx context.Context, id keyring.ID, p keyring.Perm) error {
	_, _, err := c.call(ctx, rxmsg.OpKeySetPerm, rxmsg.KeyArg(uint32(id), 0), rxmsg.AppendU32(nil, uint32(p)))
	return err
}

// SetTimeout lets a key expire after d; 0: not. Errors: ENOKEY, EKEYREVOKED, EKEYEXPIRED, EACCES, EINVAL.
func (c *Client) SetTimeout(ctx context.Context, id keyring.ID, d time.Duration) error {
	if d < 0 || d > math.MaxUint32*time.Second {
		return fmt.Errorf("rxrpc keys: a timeout of %v: %w", d, syscall.EINVAL)
	}
	_, _, err := c.call(ctx, rxmsg.OpKeyTimeout, rxmsg.KeyArg(uint32(id), 0), rxmsg.AppendU32(nil, uint32((d+time.Second-1)/time.Second)))
	return err
}

// An Installer adds keys to the user's keyring: what (*klog.Credential).Install wants.
type Installer struct {
	Client  *Client
	Context context.Context
}

// Add adds a key.
func (i Installer) Add(typ keyring.Type, description string, payload []byte) error {
	_, err := i.Client.Add(i.Context, typ, description, payload, OwnRing, 0)
	return err
}

// errMalformed is an answer that none is.
var errMalformed = errors.New("rxrpc keys: a malformed answer")

func (c *Client) call(ctx context.Context, op rxmsg.Op, arg uint64, body []byte) (rxmsg.Reply, []byte, error) {
	return c.do(ctx, rxmsg.Header{Op: op, Arg: arg}, body)
}

func (c *Client) do(ctx context.Context, h rxmsg.Header, body []byte) (rxmsg.Reply, []byte, error) {
	if len(body) > rxmsg.MaxBody {
		return rxmsg.Reply{}, nil, fmt.Errorf("rxrpc keys: %d bytes for %v: %w", len(body), h.Op, syscall.E2BIG)
	}
	data := h.Append(make([]byte, 0, rxmsg.HeaderSize+len(body)))
	data = append(data, body...)
	e, err := c.Endpoint.Call(ctx, connector.Message{ID: rxmsg.SiteID(c.Host), Data: data}, connector.Dest{})
	if err != nil {
		return rxmsg.Reply{}, nil, err
	}
	r, rest, err := rxmsg.ParseReply(e.Msg.Data)
	if err == nil && r.Op != h.Op {
		err = errMalformed
	}
	if err == nil {
		err = r.Err(rest)
	}
	return r, rest, err
}

func info(k *rxmsg.KeyInfo) keyring.Info {
	i := keyring.Info{
		ID: keyring.ID(k.ID), Type: keyring.Type(k.Type), Description: k.Description, UID: k.UID, GID: k.GID, Perm: keyring.Perm(k.Perm),
		Revoked: k.Revoked, Links: int(k.Links), Size: int(k.Size),
	}
	if k.Expires != 0 {
		i.Expires = time.Unix(k.Expires, 0)
	}
	return i
}
