package rxkad

import (
	"fmt"
	"strconv"
)

// A Level says how much of a packet is protected.
type Level uint8

// Levels. Each includes those before it.
const (
	Plain   Level = 0 // the header's checksum; OpenAFS calls it clear
	Auth    Level = 1 // the length of the data
	Encrypt Level = 2 // the data; OpenAFS calls it crypt
)

var levelNames = [...]string{"plain", "auth", "encrypt"}

// String returns plain, auth or encrypt; "level(3)" for what is none of them.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "level(" + strconv.Itoa(int(l)) + ")"
}

// ParseLevel understands plain, auth and encrypt, OpenAFS's clear and crypt, and 0 to 2.
func ParseLevel(s string) (Level, error) {
	switch s {
	case "plain", "clear", "0":
		return Plain, nil
	case "auth", "1":
		return Auth, nil
	case "encrypt", "crypt", "2":
		return Encrypt, nil
	}
	return 0, fmt.Errorf("rxkad: no level %q: plain, auth or encrypt", s)
}

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is ParseLevel.
func (l *Level) UnmarshalText(b []byte) error {
	v, err := ParseLevel(string(b))
	if err == nil {
		*l = v
	}
	return err
}
