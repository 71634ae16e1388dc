package wire

import "fmt"

// Epoch identifies the run of a client; all packets of a connection, in both
// directions, carry the client's.
type Epoch uint32

// RandomEpoch is the bit of an epoch that was chosen at random rather than from
// the clock: (epoch, cid) alone identifies the connection then, from whatever
// address its packets come (rx-spec).
const RandomEpoch Epoch = 1 << 31

// ToolEpoch is the epoch of packets that belong to no connection: debug requests
// and OpenAFS's NAT pings.
const ToolEpoch Epoch = 999

// Random reports whether the epoch identifies a connection without its address.
func (e Epoch) Random() bool { return e&RandomEpoch != 0 }

// String returns eight hexadecimal digits.
func (e Epoch) String() string { return fmt.Sprintf("%08x", uint32(e)) }

// Channels is how many calls a connection carries at a time.
const Channels = 4

const channelMask = Channels - 1

// CID is a connection's id, with the channel in its lowest two bits. What else
// is in it means nothing.
type CID uint32

// ConnID returns the id of the connection: c with channel 0.
func (c CID) ConnID() CID { return c &^ channelMask }

// Channel returns the channel, 0 to 3.
func (c CID) Channel() int { return int(c & channelMask) }

// WithChannel returns the id of channel ch of the same connection; bits of ch
// above the second do not count.
func (c CID) WithChannel(ch int) CID { return c.ConnID() | CID(ch)&channelMask }

// String returns eight hexadecimal digits.
func (c CID) String() string { return fmt.Sprintf("%08x", uint32(c)) }

// CallNumber counts the calls of a channel from 1; 0 is the connection itself.
// It is compared as a plain integer and never wraps.
type CallNumber uint32

// MaxCallNumber is the last call of a channel: servers refuse more (rxkad, and
// OpenAFS, which has it in a signed integer).
const MaxCallNumber CallNumber = 1<<31 - 1

// Seq counts the DATA packets of one direction of a call from 1.
type Seq uint32

// Before reports whether s comes before t, by the sign of the difference.
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// After reports whether s comes after t.
func (s Seq) After(t Seq) bool { return int32(s-t) > 0 }

// Add returns the seq n packets further; n may be negative.
func (s Seq) Add(n int) Seq { return s + Seq(n) }

// Sub returns how many packets s is after t; negative if it comes before.
func (s Seq) Sub(t Seq) int { return int(int32(s - t)) }

// Serial counts what a side transmits on a connection, retransmissions too. 0 is
// a packet that nobody keeps track of.
type Serial uint32

// Before reports whether s comes before t, by the sign of the difference.
func (s Serial) Before(t Serial) bool { return int32(s-t) < 0 }

// After reports whether s comes after t.
func (s Serial) After(t Serial) bool { return int32(s-t) > 0 }

// Add returns the serial n packets further; n may be negative.
func (s Serial) Add(n int) Serial { return s + Serial(n) }

// Sub returns how many packets s is after t; negative if it comes before.
func (s Serial) Sub(t Serial) int { return int(int32(s - t)) }

// UserStatus is 0 but for UpgradeRequest. Old OpenAFS sends anything here.
type UserStatus uint8

// UpgradeRequest asks, on the first DATA packet of a new connection, for the
// service that the server has in place of the one addressed.
const UpgradeRequest UserStatus = 1

// SecurityIndex names the security class of a connection.
type SecurityIndex uint8

// Security classes.
const (
	SecurityNone     SecurityIndex = 0
	SecurityVAB      SecurityIndex = 1 // never deployed
	SecurityRxKAD    SecurityIndex = 2
	SecurityRxKADE   SecurityIndex = 3 // rxkad that always encrypts; a number only
	SecurityRxGK     SecurityIndex = 4
	SecurityRxK5     SecurityIndex = 5
	SecurityYFSRxGK  SecurityIndex = 6
	securityIndexEnd               = 7
)

var securityNames = [securityIndexEnd]string{"none", "vab", "rxkad", "rxkad-encrypt", "rxgk", "rxk5", "yfs-rxgk"}

func (i SecurityIndex) name() string {
	if int(i) < len(securityNames) {
		return securityNames[i]
	}
	return ""
}

// String returns the name, or "security(99)".
func (i SecurityIndex) String() string {
	if name := i.name(); name != "" {
		return name
	}
	return fmt.Sprintf("security(%d)", uint8(i))
}

// Checksum is what the security class puts in the header ("spare" in old
// headers); 0 is none.
type Checksum uint16

// ServiceID is the number of a service; 0 is none.
type ServiceID uint16
