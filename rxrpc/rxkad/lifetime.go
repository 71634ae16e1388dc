package rxkad

import "slices"

// The life byte of a Kerberos 4 ticket: units of 5 minutes, and from 0x80 on a table, in which each entry is
// about 7 % longer than the last; 0xff is for ever. Linux knows no table.
const (
	lifeUnit   = 5 * 60
	lifeTable  = 0x80
	lifeMax    = 0xbf
	lifeAlways = 0xff
)

// maxLife is how long a ticket may live, in seconds: 30 days.
const maxLife = 30 * 24 * 60 * 60

var lifetimes = [64]uint32{
	38400, 41055, 43894, 46929, 50174, 53643, 57352, 61318, 65558, 70091, 74937, 80119, 85658, 91581, 97914, 104684,
	111922, 119661, 127935, 136781, 146239, 156350, 167161, 178720, 191077, 204289, 218415, 233517, 249664, 266926, 285383, 305116,
	326213, 348769, 372885, 398668, 426234, 455705, 487215, 520904, 556921, 595430, 636601, 680618, 727680, 777995, 831789, 889303,
	950794, 1016537, 1086825, 1161973, 1242318, 1328218, 1420057, 1518247, 1623226, 1735464, 1855462, 1983758, 2120925, 2267576, 2424367, 2592000,
}

// A Lifetimes says how the life of Kerberos 4 tickets is counted.
type Lifetimes uint8

// Ways of counting. They agree on lives below 0x80, 10 h 35 min.
const (
	OpenAFSLifetimes Lifetimes = iota // with the table, and 0xff for ever
	LinuxLifetimes                    // linear: at most 21 h 15 min
)

// End returns when a ticket ends that begins at that time; Never if it does not.
func (l Lifetimes) End(begins uint32, life uint8) uint32 {
	var d uint32
	switch {
	case l == LinuxLifetimes || life < lifeTable:
		d = uint32(life) * lifeUnit
	case life == lifeAlways:
		return Never
	default:
		d = lifetimes[min(life, lifeMax)-lifeTable]
	}
	if begins > Never-d {
		return Never
	}
	return begins + d
}

// Life returns the shortest life that reaches the end; false if there is none.
func (l Lifetimes) Life(begins, ends uint32) (uint8, bool) {
	if ends == Never && l == OpenAFSLifetimes {
		return lifeAlways, true
	}
	if ends <= begins {
		return 0, false
	}
	d, most := ends-begins, uint32(lifeTable-1)
	if l == LinuxLifetimes {
		most = 0xff
	}
	if d <= most*lifeUnit {
		return uint8((d + lifeUnit - 1) / lifeUnit), true
	}
	if l == LinuxLifetimes || d > maxLife {
		return 0, false
	}
	i, _ := slices.BinarySearch(lifetimes[:], d)
	return uint8(lifeTable + i), true
}

// checkTimes decides whether a ticket is valid, by the rules of OpenAFS. They have a grace of the skew for
// a ticket that has ended, but none for packets of its connection: it comes to nothing and is left out.
func checkTimes(begins, ends uint32, now, skew int64) error {
	b, e := int64(begins), int64(ends)
	switch {
	case b >= e:
		return refuse(BadTicket, "the ticket ends before it begins")
	case b > now+skew+maxLife:
		return refuse(BadTicket, "the ticket begins too far in the future")
	case begins != 0 && ends != Never && e-b > maxLife:
		return refuse(BadTicket, "the ticket lives for more than 30 days")
	case ends != Never && e < now:
		if begins != 0 && e+skew < now && now-b > maxLife+24*60*60 {
			return refuse(BadTicket, "the ticket ended long ago")
		}
		return refuse(Expired, "the ticket has expired")
	case b > now+skew:
		return refuse(NoAuth, "the ticket is not valid yet")
	}
	return nil
}
