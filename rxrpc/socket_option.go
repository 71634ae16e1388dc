package rxrpc

import (
	"encoding/binary"
	"slices"
	"strconv"
	"syscall"
)

// Options of level SOLRxRPC (Linux: include/uapi/linux/rxrpc.h).
const (
	OptSecurityKey         = 1
	OptSecurityKeyring     = 2
	OptExclusiveConnection = 3
	OptMinSecurityLevel    = 4
	OptUpgradeableService  = 5
	OptSupportedCmsg       = 6
	OptManageResponse      = 7
)

// Security levels, for OptMinSecurityLevel.
const (
	SecurityPlain     = 0
	SecurityAuth      = 1
	SecurityEncrypted = 2
)

// maxDescription is the longest description of a key (Linux: a page).
const maxDescription = 4096

// SetOption sets an option from the bytes that setsockopt(2) takes; numbers are in host order.
//
//	OptSecurityKey          description of the key that calls are secured by
//	OptSecurityKeyring      description of the keyring of a server
//	OptExclusiveConnection  no bytes: a connection of its own for each call
//	OptMinSecurityLevel     u32, 0 to 2
//	OptUpgradeableService   two u16: calls of the first service that ask for it are of the second. After the second Bind
//	OptManageResponse       u32: 0. The socket answers challenges itself; 1 is EOPNOTSUPP
//
// Errors: EISCONN for a socket that is bound or connected (OptUpgradeableService: that is not bound twice, or listens), EINVAL for a wrong length or value,
// or a key that was set before; what the KeySource says (ENOKEY); ENOPROTOOPT for another option, EOPNOTSUPP for another level: Linux
// ignores both.
func (s *Socket) SetOption(level, option int, value []byte) error {
	if level != SOLRxRPC {
		return sockErr("setsockopt", syscall.EOPNOTSUPP, "level "+strconv.Itoa(level))
	}
	switch option {
	case OptSecurityKey, OptSecurityKeyring:
		return s.setKey(option, value)
	case OptUpgradeableService:
		return s.setUpgradeable(value)
	case OptExclusiveConnection, OptMinSecurityLevel, OptManageResponse:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.setBefore(option, value)
	}
	return sockErr("setsockopt", syscall.ENOPROTOOPT, "option "+strconv.Itoa(option))
}

// setBefore sets what can only be set before the socket has an address; s.mu is held.
func (s *Socket) setBefore(option int, value []byte) error {
	const op = "setsockopt"
	want := 4
	if option == OptExclusiveConnection {
		want = 0
	}
	if len(value) != want {
		return sockErr(op, syscall.EINVAL, strconv.Itoa(len(value))+" bytes")
	}
	if s.state != unbound {
		return sockErr(op, syscall.EISCONN, "bound or connected")
	}
	var n uint32
	if want > 0 {
		n = binary.NativeEndian.Uint32(value)
	}
	switch {
	case option == OptExclusiveConnection:
		s.excl = true
	case option == OptMinSecurityLevel && n > SecurityEncrypted, option == OptManageResponse && n > 1:
		return sockErr(op, syscall.EINVAL, "value "+strconv.FormatUint(uint64(n), 10))
	case option == OptMinSecurityLevel:
		s.level = uint8(n)
	case n == 1:
		return sockErr(op, syscall.EOPNOTSUPP, "challenges are answered by the socket")
	}
	return nil
}

// setKey looks up a key or a keyring.
func (s *Socket) setKey(option int, value []byte) error {
	const op = "setsockopt"
	may := func() error {
		switch {
		case option == OptSecurityKey && s.key != nil, option == OptSecurityKeyring && s.ring != nil:
			return sockErr(op, syscall.EINVAL, "set already")
		case s.state != unbound:
			return sockErr(op, syscall.EISCONN, "bound or connected")
		}
		return nil
	}
	s.mu.Lock()
	err := may()
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case len(value) == 0 || len(value) >= maxDescription || slices.Contains(value, 0):
		return sockErr(op, syscall.EINVAL, "no description")
	case s.cfg.Keys == nil:
		return sockErr(op, errNoKey, "key "+strconv.Quote(string(value)))
	}
	var key ClientKey
	var ring ServerKeyring
	if option == OptSecurityKey {
		key, err = s.cfg.Keys.RequestKey(string(value))
		if err == nil && key == nil {
			key = NullKey("")
		}
	} else {
		ring, err = s.cfg.Keys.RequestKeyring(string(value))
	}
	if err != nil {
		return &SocketError{Op: op, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := may(); err != nil { // in the meantime
		return err
	}
	if key != nil {
		s.key = key
	} else {
		s.ring = ring
	}
	return nil
}

// setUpgradeable sets which service is upgraded to which.
func (s *Socket) setUpgradeable(value []byte) error {
	const op = "setsockopt"
	if len(value) != 4 {
		return sockErr(op, syscall.EINVAL, strconv.Itoa(len(value))+" bytes")
	}
	from, to := binary.NativeEndian.Uint16(value), binary.NativeEndian.Uint16(value[2:])
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.up != [2]uint16{}:
		return sockErr(op, syscall.EINVAL, "set already")
	case s.state != serverBound2:
		return sockErr(op, syscall.EISCONN, "not bound to two services, or listening")
	case from == to || !slices.Contains(s.bound, from) || !slices.Contains(s.bound, to):
		return sockErr(op, syscall.EINVAL, "services "+strconv.Itoa(int(from))+" and "+strconv.Itoa(int(to)))
	}
	s.up = [2]uint16{from, to}
	return nil
}

// GetOption reads an option into value and returns its length: OptSupportedCmsg, an int, the highest number of a control
// message. Errors: ETOOSMALL (525) for a short buffer, EOPNOTSUPP for anything else.
func (s *Socket) GetOption(level, option int, value []byte) (int, error) {
	switch {
	case level != SOLRxRPC || option != OptSupportedCmsg:
		return 0, sockErr("getsockopt", syscall.EOPNOTSUPP, "level "+strconv.Itoa(level)+" option "+strconv.Itoa(option))
	case len(value) < 4:
		return 0, sockErr("getsockopt", errTooSmall, strconv.Itoa(len(value))+" bytes")
	}
	binary.NativeEndian.PutUint32(value, uint32(ctlMax))
	return 4, nil
}

// SetSecurityKey is OptSecurityKey.
func (s *Socket) SetSecurityKey(description string) error {
	return s.SetOption(SOLRxRPC, OptSecurityKey, []byte(description))
}

// SetSecurityKeyring is OptSecurityKeyring.
func (s *Socket) SetSecurityKeyring(description string) error {
	return s.SetOption(SOLRxRPC, OptSecurityKeyring, []byte(description))
}

// SetExclusive is OptExclusiveConnection.
func (s *Socket) SetExclusive() error { return s.SetOption(SOLRxRPC, OptExclusiveConnection, nil) }

// SetMinSecurityLevel is OptMinSecurityLevel.
func (s *Socket) SetMinSecurityLevel(level uint32) error {
	return s.SetOption(SOLRxRPC, OptMinSecurityLevel, binary.NativeEndian.AppendUint32(nil, level))
}

// SetUpgradeable is OptUpgradeableService.
func (s *Socket) SetUpgradeable(from, to uint16) error {
	b := binary.NativeEndian.AppendUint16(nil, from)
	return s.SetOption(SOLRxRPC, OptUpgradeableService, binary.NativeEndian.AppendUint16(b, to))
}

// NullKey is a key that stands for no security (rxrpc_get_null_key): with it a call of a socket that has a key is not
// secured. The name, a cell's by custom, is for messages.
func NullKey(name string) ClientKey { return nullKey(name) }

type nullKey string

func (nullKey) Secure(uint8) (ClientSecurity, error) { return nil, nil }

// String returns the name.
func (k nullKey) String() string { return string(k) }

// SecurityKey is a security with a key of its own as a ClientKey, at whatever level it has.
func SecurityKey(sec ClientSecurity) ClientKey { return fixedKey{sec} }

type fixedKey struct{ sec ClientSecurity }

func (k fixedKey) Secure(uint8) (ClientSecurity, error) { return k.sec, nil }
