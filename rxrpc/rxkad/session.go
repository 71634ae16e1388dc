package rxkad

// SessionKey makes the session key of a Token of that of a Kerberos 5 ticket: as it is for DES, derived otherwise
// (draft-kaduk-afs3-rxkad-k5-kdf-00). Errors: BadKey for an encryption type that has none, or a key of a wrong length.
func SessionKey(enctype int32, key []byte) (Key, error) {
	k, err := sessionKey(enctype, key)
	if err != nil {
		return Key{}, &Error{BadKey, "a session key from Kerberos", err}
	}
	defer clear(k[:])
	return NewKey(k[:]), nil
}
