package rxdebug

import (
	"encoding/json"
	"strconv"
)

// CallState is how far a call has come.
type CallState uint8

// States of a call.
const (
	NotInitialized CallState = 0
	Precall        CallState = 1 // packets have come, nobody has taken it
	Active         CallState = 2
	Dally          CallState = 3 // done; its end may have to be acknowledged again
	Hold           CallState = 4 // the reply is not acknowledged yet
	Reset          CallState = 5
)

var stateNames = []string{"not initialized", "precall", "active", "dally", "hold", "reset"}

// String returns the name that rxdebug has, or the number.
func (s CallState) String() string { return nameOf(stateNames, uint8(s)) }

// MarshalText returns the name.
func (s CallState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// CallMode is which way a call's data goes.
type CallMode uint8

// Modes of a call.
const (
	Sending   CallMode = 1
	Receiving CallMode = 2
	Errored   CallMode = 3
	EOF       CallMode = 4 // the reply is complete
)

var modeNames = []string{"unknown", "sending", "receiving", "error", "eof"}

// String returns the name that rxdebug has, or the number.
func (m CallMode) String() string { return nameOf(modeNames, uint8(m)) }

// MarshalText returns the name.
func (m CallMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func nameOf(names []string, v uint8) string {
	if int(v) < len(names) {
		return names[v]
	}
	return strconv.Itoa(int(v))
}

// CallFlags are what a call waits for.
type CallFlags uint8

var callFlagNames = []string{
	"reader_wait", "window_alloc", "window_send", "wait_packets", "waiting_for_process", "receive_done", "call_cleared",
}

// Names returns the names of the flags set, as rxdebug has them; what has none is
// left out.
func (f CallFlags) Names() []string { return bitNames(callFlagNames, uint32(f)) }

// MarshalJSON returns the names.
func (f CallFlags) MarshalJSON() ([]byte, error) { return json.Marshal(f.Names()) }

// ConnFlags are the state of a connection.
type ConnFlags uint8

var connFlagNames = []string{"MAKECALL_WAITING", "DESTROYED", "pktCksum", "knowWindow", "reset", "busy", "attachWait"}

// Names returns the names of the flags set, as rxdebug has them; what has none is
// left out.
func (f ConnFlags) Names() []string { return bitNames(connFlagNames, uint32(f)) }

// MarshalJSON returns the names.
func (f ConnFlags) MarshalJSON() ([]byte, error) { return json.Marshal(f.Names()) }

// SecurityFlags are what a security class knows of a connection.
type SecurityFlags uint32

// NoData says that there are no counters.
const NoData SecurityFlags = 1

var securityFlagNames = []string{"unalloc", "authenticated", "expired", "pktCksum"}

// Names returns the names of the flags set, as rxdebug has them; what has none is
// left out.
func (f SecurityFlags) Names() []string { return bitNames(securityFlagNames, uint32(f)) }

// MarshalJSON returns the names.
func (f SecurityFlags) MarshalJSON() ([]byte, error) { return json.Marshal(f.Names()) }

func bitNames(names []string, v uint32) []string {
	set := []string{}
	for i, name := range names {
		if v&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return set
}

// Class is a security class as statistics know it; it is not the number that
// packets carry.
type Class uint8

// Classes.
const (
	ClassUnknown Class = 0
	ClassNull    Class = 1
	ClassVAB     Class = 2
	ClassRxKAD   Class = 3
	ClassRxGK    Class = 4
)

var classNames = []string{"unknown", "rxnull", "rxvab", "rxkad", "rxgk"}

// String returns the name that rxdebug has, or the number.
func (c Class) String() string { return nameOf(classNames, uint8(c)) }

// MarshalText returns the name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Level is how much a security class protects.
type Level uint8

// Levels.
const (
	Clear Level = 0
	Auth  Level = 1
	Crypt Level = 2
)

// String returns clear, auth, crypt, or "unknown".
func (l Level) String() string {
	if l > Crypt {
		return "unknown"
	}
	return [...]string{"clear", "auth", "crypt"}[l]
}

// MarshalText returns the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
