package rxmsg

import (
	"encoding/binary"
	"math"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// How a call of a server is secured, and who has made it, is a control message of our own level, as a Reason is: in NEW_CALL and in the first
// EventMsg with data of a call whose client has proven who it is. Who does not know it skips it.
//
//	0            8              12      16     17      18      19  20
//	| length u64 | level 0x636e | type 2 | class | level | flags | 0 | expires
//	24       28        32        36        40          41              42          43
//	| begins | expires | version | enctype | len(name) | len(instance) | len(cell) | 0 | name, instance, cell, and up to 7 bytes of 0
//
// class is as the debug protocol counts (3: rxkad), level as the class does. Flag 1: the client has proven who it is. Flag 2: what follows expires is who
// that is, the identity of a ticket of rxkad.

const (
	securityHeader = cmsgHeader + 28
	maxIdentity    = math.MaxUint8 // bytes of each of its names; tickets have fewer

	// MaxSecurity is the most bytes that AppendSecurity appends.
	MaxSecurity = (securityHeader + 3*maxIdentity + 7) &^ 7

	securityProven   = 1
	securityIdentity = 2
)

// AppendSecurity appends the control message. b is control data of whole words.
func AppendSecurity(b []byte, i *rxrpc.SecurityInfo) []byte {
	o := binary.NativeEndian
	id, named := i.Peer.(*rxkad.Identity)
	flags := byte(0)
	switch {
	case named && max(len(id.Name), len(id.Instance), len(id.Cell)) > maxIdentity: // and not somebody with a shorter name
		named, id = false, nil
	case i.Authenticated:
		flags = securityProven
	}
	if named {
		flags |= securityIdentity
	} else {
		id = &rxkad.Identity{}
	}
	n := securityHeader + len(id.Name) + len(id.Instance) + len(id.Cell)
	b = appendCmsgHeader(b, n, securityType)
	b = append(b, i.Type, i.Level, flags, 0)
	b = o.AppendUint32(b, i.Expires)
	b = o.AppendUint32(b, id.Begins)
	b = o.AppendUint32(b, id.Expires)
	b = o.AppendUint32(b, id.Version)
	b = o.AppendUint32(b, uint32(id.EncType))
	b = append(b, byte(len(id.Name)), byte(len(id.Instance)), byte(len(id.Cell)), 0)
	return pad(append(append(append(b, id.Name...), id.Instance...), id.Cell...), n)
}

// FindSecurity returns it; false if there is none, or nothing that can be read.
func FindSecurity(control []byte) (i rxrpc.SecurityInfo, ok bool) {
	o := binary.NativeEndian
	m := findCmsg(control, securityType, securityHeader)
	if m == nil {
		return i, false
	}
	i = rxrpc.SecurityInfo{Type: m[0], Level: m[1], Authenticated: m[2]&securityProven != 0, Expires: o.Uint32(m[4:])}
	if m[2]&securityIdentity == 0 {
		return i, true
	}
	name, instance, cell := int(m[24]), int(m[25]), int(m[26])
	text := m[28:]
	if len(text) != name+instance+cell {
		return rxrpc.SecurityInfo{}, false
	}
	i.Peer = &rxkad.Identity{
		Name: string(text[:name]), Instance: string(text[name : name+instance]), Cell: string(text[name+instance:]), Level: rxkad.Level(i.Level),
		Begins: o.Uint32(m[8:]), Expires: o.Uint32(m[12:]), Version: o.Uint32(m[16:]), EncType: int32(o.Uint32(m[20:])),
	}
	return i, true
}
