package rxkad

import "encoding/binary"

// version is the only one of the protocol that is spoken. The one before, without a checksum, was
// given up around 1990.
const version = 2

const challengeSize = 16

// A challenge is what a server asks a client to prove itself with.
type challenge struct {
	nonce    uint32
	minLevel Level
}

// version 2 | nonce | least level | 0        (four bytes each)
func (c challenge) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, c.nonce)
	b = binary.BigEndian.AppendUint32(b, uint32(c.minLevel))
	return binary.BigEndian.AppendUint32(b, 0)
}

// parseChallenge reads a CHALLENGE. A least level that does not exist cannot be satisfied. OpenAFS sends
// whatever was in memory as the spare word: it does not count.
func parseChallenge(b []byte) (challenge, error) {
	if len(b) < challengeSize {
		return challenge{}, refuse(PacketShort, "challenge too short, or of an old version")
	}
	if binary.BigEndian.Uint32(b) != version {
		return challenge{}, refuse(Inconsistency, "challenge of an unknown version")
	}
	level := binary.BigEndian.Uint32(b[8:])
	if level > uint32(Encrypt) {
		return challenge{}, refuse(LevelFail, "challenge asks for a level that does not exist")
	}
	return challenge{nonce: binary.BigEndian.Uint32(b[4:]), minLevel: Level(level)}, nil
}
