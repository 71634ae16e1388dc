package keyring

import (
	"strconv"
	"strings"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A serviceName is the description of a key of type rxrpc_s.
type serviceName struct {
	query rxkad.KeyQuery
	bare  bool // "52:2": the one DES key, of whatever version
}

// parseService parses SERVICE:INDEX, and SERVICE:INDEX:VERSION:TYPE.
func parseService(description string) (serviceName, error) {
	parts := strings.Split(description, ":")
	var n [4]uint64
	if len(parts) != 2 && len(parts) != 4 {
		return serviceName{}, ErrInvalid
	}
	for i, bits := range []int{16, 8, 32, 31}[:len(parts)] {
		v, err := strconv.ParseUint(parts[i], 10, bits)
		if err != nil || strconv.FormatUint(v, 10) != parts[i] {
			return serviceName{}, ErrInvalid
		}
		n[i] = v
	}
	if n[1] == 0 {
		return serviceName{}, ErrInvalid
	}
	if n[1] != uint64(wire.SecurityRxKAD) {
		return serviceName{}, ErrNoSupport
	}
	q := rxkad.KeyQuery{Service: uint16(n[0]), Version: uint32(n[2]), EncType: int32(n[3])}
	return serviceName{q, len(parts) == 2}, nil
}

// checkServiceKey refuses payloads that are no key for the description.
func checkServiceKey(name serviceName, payload []byte) error {
	if name.query.EncType == rxkad.DES {
		if len(payload) != 8 {
			return ErrInvalid
		}
		if rxkad.IsWeak([8]byte(payload)) {
			return ErrRejected
		}
		return nil
	}
	if n, ok := rxkad.KeySize(name.query.EncType); !ok {
		return ErrNoSupport
	} else if n != len(payload) {
		return ErrInvalid
	}
	return nil
}

func describeService(q rxkad.KeyQuery, bare bool) string {
	s := strconv.Itoa(int(q.Service)) + ":" + strconv.Itoa(int(wire.SecurityRxKAD))
	if !bare {
		s += ":" + strconv.FormatUint(uint64(q.Version), 10) + ":" + strconv.Itoa(int(q.EncType))
	}
	return s
}
