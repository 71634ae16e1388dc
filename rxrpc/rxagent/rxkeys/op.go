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

// Do does an operation of a client. Errors wrap the errnos of add_key(2) and keyctl(2).
func (k *Keys) Do(_ context.Context, who connector.From, h rxmsg.Header, body []byte) (value uint32, reply []byte, err error) {
	c, err := k.cred(who)
	if err != nil {
		return 0, nil, err
	}
	switch h.Op {
	case rxmsg.OpKeyAdd:
		id, err := k.add(c, h, body)
		return uint32(id), nil, err
	case rxmsg.OpKeySearch:
		id, err := k.search(c, h.Arg, body)
		return uint32(id), nil, err
	case rxmsg.OpKeyList:
		return k.list(c, h.Arg, body)
	case rxmsg.OpKeySeal:
		return 0, k.pair.PublicKey().Bytes(), nil
	case rxmsg.OpKeyKeyring:
		if h.Arg == rxmsg.OwnKeyring {
			return uint32(c.Ring), nil, nil
		}
		if h.Arg > math.MaxUint32 {
			return 0, nil, fmt.Errorf("uid %d: %w", h.Arg, syscall.EINVAL)
		}
		id, err := k.ringOfUser(c, uint32(h.Arg))
		return uint32(id), nil, err
	case rxmsg.OpKeyClear:
		_, number := rxmsg.SplitKeyArg(h.Arg)
		ring, err := k.ringOf(c, number)
		if err == nil {
			err = k.store.Clear(c, ring)
		}
		return 0, nil, err
	case rxmsg.OpKeyDescribe, rxmsg.OpKeyRevoke, rxmsg.OpKeyUnlink, rxmsg.OpKeyLink, rxmsg.OpKeyTimeout, rxmsg.OpKeySetPerm:
		reply, err := k.one(c, h, body)
		return 0, reply, err
	}
	return 0, nil, fmt.Errorf("operation %v: %w", h.Op, syscall.EOPNOTSUPP)
}

// one does an operation on a key.
func (k *Keys) one(c keyring.Cred, h rxmsg.Header, body []byte) ([]byte, error) {
	number, ringNumber := rxmsg.SplitKeyArg(h.Arg)
	id, err := k.visible(c, number)
	if err != nil {
		return nil, err
	}
	switch h.Op {
	case rxmsg.OpKeyDescribe:
		info, err := k.store.Describe(c, id)
		if err != nil {
			return nil, err
		}
		return appendInfo(nil, &info), nil
	case rxmsg.OpKeyRevoke:
		return nil, k.store.Revoke(c, id)
	case rxmsg.OpKeyTimeout, rxmsg.OpKeySetPerm:
		v, err := rxmsg.ParseU32(body)
		if err != nil {
			return nil, err
		}
		if k.isUserRing(id) {
			return nil, fmt.Errorf("key %d: the keyring of a user stays as it is: %w", number, syscall.EACCES)
		}
		if h.Op == rxmsg.OpKeySetPerm {
			return nil, k.store.SetPerm(c, id, keyring.Perm(v))
		}
		return nil, k.store.SetTimeout(c, id, time.Duration(v)*time.Second)
	}
	ring, err := k.ringOf(c, ringNumber)
	if err != nil {
		return nil, err
	}
	if h.Op == rxmsg.OpKeyLink {
		return nil, k.store.Link(c, id, ring)
	}
	return nil, k.store.Unlink(c, id, ring)
}

func (k *Keys) add(c keyring.Cred, h rxmsg.Header, body []byte) (keyring.ID, error) {
	_, number := rxmsg.SplitKeyArg(h.Arg)
	a, err := rxmsg.ParseKeyAdd(body)
	if err != nil {
		return 0, err
	}
	ring, err := k.ringOf(c, number)
	if err != nil {
		return 0, err
	}
	if h.Flags&rxmsg.FlagSealed != 0 {
		if a.Payload, err = k.unseal(&a); err != nil {
			return 0, err
		}
		defer clear(a.Payload)
	}
	id, err := k.store.Add(c, keyring.Type(a.Type), a.Description, a.Payload, ring)
	if err != nil {
		return 0, err
	}
	return id, k.timeout(c, id, a.Timeout)
}

func (k *Keys) search(c keyring.Cred, arg uint64, body []byte) (keyring.ID, error) {
	_, number := rxmsg.SplitKeyArg(arg)
	a, err := rxmsg.ParseKeyAdd(body)
	if err != nil {
		return 0, err
	}
	ring, err := k.ringOf(c, number)
	if err != nil {
		return 0, err
	}
	return k.store.Search(c, ring, keyring.Type(a.Type), a.Description)
}

// list returns the descriptions of a keyring's keys, from one on, as many as a message has room for, and how many there
// are. Keys that the client may not see are left out.
func (k *Keys) list(c keyring.Cred, arg uint64, body []byte) (uint32, []byte, error) {
	_, number := rxmsg.SplitKeyArg(arg)
	from := uint32(0)
	if len(body) > 0 {
		var err error
		if from, err = rxmsg.ParseU32(body); err != nil {
			return 0, nil, err
		}
	}
	ring, err := k.ringOf(c, number)
	if err != nil {
		return 0, nil, err
	}
	ids, err := k.store.List(c, ring)
	if err != nil {
		return 0, nil, err
	}
	var reply []byte
	total, full := uint32(0), false
	for _, id := range ids {
		info, err := k.store.Describe(c, id)
		if errors.Is(err, keyring.ErrDenied) || isNoKey(err) {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		total++
		if total <= from || full {
			continue
		}
		if next := appendInfo(reply, &info); len(next) <= rxmsg.MaxBody {
			reply = next
		} else {
			full = true
		}
	}
	return total, reply, nil
}

func appendInfo(b []byte, i *keyring.Info) []byte {
	w := rxmsg.KeyInfo{
		ID: uint32(i.ID), UID: i.UID, GID: i.GID, Perm: uint32(i.Perm), Size: uint32(i.Size), Links: uint16(min(i.Links, math.MaxUint16)),
		Revoked: i.Revoked, Type: string(i.Type), Description: i.Description,
	}
	if !i.Expires.IsZero() {
		w.Expires = i.Expires.Unix()
	}
	return w.Append(b)
}
