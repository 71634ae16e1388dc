package wire

// VersionSize is the length of a VERSION reply's body.
const VersionSize = 65

var errVersion = truncated("VERSION reply without a text")

// AppendVersionRequest appends the body that asks for the version.
func AppendVersionRequest(b []byte) []byte { return append(b, 0) }

// AppendVersion appends the body of a VERSION reply: the text, cut to 64 bytes,
// and zeros up to 65.
func AppendVersion(b []byte, text string) []byte {
	text = text[:min(len(text), VersionSize-1)]
	return appendZeros(append(b, text...), VersionSize-len(text))
}

// ParseVersion returns the text of a VERSION reply, up to its first zero and at
// most 65 bytes. A stranger wrote it, so that what is not printable ASCII becomes
// a question mark: a terminal must be able to show it.
func ParseVersion(body []byte) (string, error) {
	if len(body) == 0 {
		return "", errVersion
	}
	text := make([]byte, 0, VersionSize)
	for _, c := range body[:min(len(body), VersionSize)] {
		if c == 0 {
			break
		}
		text = append(text, printable(c))
	}
	return string(text), nil
}

func printable(c byte) byte {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}
