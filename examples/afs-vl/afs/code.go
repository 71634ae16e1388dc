package afs

import "fmt"

// A Code is what a call is aborted with.
type Code int32

// Codes of rxgen's stubs, of the databases, and of their common ground.
const (
	MarshalFailed   Code = -452 // RXGEN_SS_MARSHAL
	UnmarshalFailed Code = -453 // RXGEN_SS_UNMARSHAL
	NoProcedure     Code = -455 // RXGEN_OPCODE
	ServerFailed    Code = -1   // RX_CALL_DEAD, which stubs use for whatever they cannot name

	VLNoEntry    Code = 363524 // VL_NOENT
	VLIndexRange Code = 363549 // VL_INDEXERANGE
	VLBadMask    Code = 363551 // VL_BADMASK
	VLPermission Code = 363546 // VL_PERM

	PRExists     Code = 267264 // PREXIST
	PRIDExists   Code = 267265 // PRIDEXIST
	PRNoEntry    Code = 267268 // PRNOENT
	PRPermission Code = 267269 // PRPERM
	PRBadName    Code = 267272 // PRBADNAM

	BZNoEntry Code = 39425 // BZNOENT
	BZDomain  Code = 39429 // BZDOM
	BZAccess  Code = 39430 // BZACCESS
)

var codeNames = map[Code]string{
	MarshalFailed: "RXGEN_SS_MARSHAL", UnmarshalFailed: "RXGEN_SS_UNMARSHAL", NoProcedure: "RXGEN_OPCODE",
	VLNoEntry: "VL_NOENT", VLIndexRange: "VL_INDEXERANGE", VLBadMask: "VL_BADMASK", VLPermission: "VL_PERM",
	PRExists: "PREXIST", PRIDExists: "PRIDEXIST", PRNoEntry: "PRNOENT", PRPermission: "PRPERM", PRBadName: "PRBADNAM",
	BZNoEntry: "BZNOENT", BZDomain: "BZDOM", BZAccess: "BZACCESS",
}

func (c Code) Error() string {
	if name, ok := codeNames[c]; ok {
		return fmt.Sprintf("abort %d (%s)", int32(c), name)
	}
	return fmt.Sprintf("abort %d", int32(c))
}
