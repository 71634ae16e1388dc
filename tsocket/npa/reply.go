package npa

import "fmt"

// FileType is how a pipe goes on after the handshake.
type FileType uint16

const (
	// ByteMode: a stream of bytes.
	ByteMode FileType = 1
	// MessageMode: a stream of messages.
	MessageMode FileType = 2
)

// String returns "byte mode", "message mode" or the number.
func (t FileType) String() string {
	switch t {
	case ByteMode:
		return "byte mode"
	case MessageMode:
		return "message mode"
	}
	return fmt.Sprintf("file type %d", uint16(t))
}

// Status is an NTSTATUS; 0 is success.
type Status uint32

// The statuses that this package gives.
const (
	StatusOK           Status = 0
	StatusAccessDenied Status = 0xC0000022
	StatusInvalidLevel Status = 0xC0000148
)

// Error returns the name: "NT_STATUS_ACCESS_DENIED", or the number in hexadecimal where this package has none.
func (s Status) Error() string {
	switch s {
	case StatusOK:
		return "NT_STATUS_OK"
	case StatusAccessDenied:
		return "NT_STATUS_ACCESS_DENIED"
	case StatusInvalidLevel:
		return "NT_STATUS_INVALID_LEVEL"
	}
	return fmt.Sprintf("NTSTATUS 0x%08X", uint32(s))
}

// Reply is what the server answers.
type Reply struct {
	FileType       FileType
	DeviceState    uint16
	AllocationSize uint64
	Status         Status
}

// replySize is the length of every reply of level 8.
const replySize = 36

// AppendBinary appends the reply as it is sent. There is no error.
func (r *Reply) AppendBinary(b []byte) ([]byte, error) {
	e := encoder{b: b, base: len(b)}
	e.b = append(e.b, 0, 0, 0, 0)
	e.b = append(e.b, magic...)
	e.u32(level)
	e.u32(level)
	e.u16(uint16(r.FileType))
	e.u16(r.DeviceState)
	e.u64(r.AllocationSize)
	e.u32(uint32(r.Status))
	return finish(e, b)
}

// MarshalBinary is AppendBinary to nothing.
func (r *Reply) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// UnmarshalBinary reads a reply, length and all. The error is an *Error:
// EMSGSIZE if b is too short or too long, EIO if it is no reply, or one of another level. A
// status, whatever it is, is no error here.
func (r *Reply) UnmarshalBinary(b []byte) error {
	d, err := open(b, errMalformed)
	if err != nil {
		return err
	}
	q := Reply{FileType: FileType(d.u16()), DeviceState: d.u16(), AllocationSize: d.u64(), Status: Status(d.u32())}
	if d.err == nil && d.at != len(b) {
		d.fail(errShort)
	}
	if d.err == nil {
		*r = q
	}
	return d.err
}
