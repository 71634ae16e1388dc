package relay

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	ipHeader   = 20
	udpHeader  = 8
	icmpHeader = 8
)

// openSignal opens the raw socket if one of the paths needs it.
func (r *Relay) openSignal(paths ...Path) (err error) {
	for _, p := range paths {
		if !p.Signal || r.icmp >= 0 {
			continue
		}
		if !r.cfg.Target.Addr().Unmap().Is4() {
			return fmt.Errorf("relay: Signal is for IPv4, not for %v", r.cfg.Target)
		}
		if r.icmp, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP); err != nil {
			r.icmp = -1
			return fmt.Errorf("relay: a raw socket for Signal: %w", err)
		}
	}
	return nil
}

// signal tells who sent a datagram of size bytes that the path takes mtu, as a
// router does: ICMP type 3 code 4 (RFC 1191 section 4) with the datagram's headers.
func (r *Relay) signal(c *client, d Direction, mtu, size int) {
	from, to := c.addr.addrPort(), r.addr
	if d == Down {
		source, err := localAddr(c.fd)
		if err != nil {
			return
		}
		from, to = r.cfg.Target, source
	}
	b := make([]byte, icmpHeader+ipHeader+udpHeader)
	b[0], b[1] = 3, 4
	binary.BigEndian.PutUint16(b[6:], uint16(min(mtu+ipHeader+udpHeader, 0xffff)))
	ip := b[icmpHeader:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(min(ipHeader+udpHeader+size, 0xffff)))
	ip[6] = 0x40 // DF
	put(ip[12:16], from.Addr())
	put(ip[16:20], to.Addr())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:ipHeader]))
	udp := ip[ipHeader:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(min(udpHeader+size, 0xffff)))
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	_ = unix.Sendto(r.icmp, b, 0, &unix.SockaddrInet4{Addr: from.Addr().Unmap().As4()})
}

func put(b []byte, a netip.Addr) {
	v := a.Unmap().As4()
	copy(b, v[:])
}

// checksum is that of RFC 1071, over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
