package rxkad

// An Identity is who a ticket was made for, as its maker says. Neither implementation looks at the service
// that a ticket is for: its key says that.
type Identity struct {
	Name, Instance string
	Cell           string // "" is the server's own
	Level          Level  // of the connection
	Version        uint32 // how the ticket was read: its key's version, Kerberos5Part or Kerberos5
	EncType        int32  // of a Kerberos 5 ticket; DES of a Kerberos 4 one
	Begins         uint32 // unix seconds, 0: always
	Expires        uint32 // unix seconds, Never
}

// String is name.instance@cell, without what is empty.
func (i *Identity) String() string {
	s := i.Name
	if i.Instance != "" {
		s += "." + i.Instance
	}
	if i.Cell != "" {
		s += "@" + i.Cell
	}
	return s
}

// LocalAuth reports whether it is whom OpenAFS's servers take for their own: "afs" without an instance and a
// cell, who has the service's key.
func (i *Identity) LocalAuth() bool { return i.Name == "afs" && i.Instance == "" && i.Cell == "" }
