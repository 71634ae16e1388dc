// Package cbid holds the identifier of the connector model: the pair {idx, val}
// that names a callback, the well-known identifiers by name, and ranges and
// sets of identifiers.
//
// # Contract
//
// An identifier is two numbers of 32 bits, both meaningful over their whole
// range; the zero ID is an ordinary one. [ID], [Range] and [Rect] are small
// values, comparable with == and safe to share. A [Set] may be read by any
// number of goroutines while nobody changes it.
//
// # Text
//
// Whatever has a String method is read back by the Parse function of its type.
//
//	ID     1:1   0x123:0x456   -1:-1   proc       idx:val, decimal or hexadecimal; -1 is 0xffffffff
//	Range  5   1-10   0x100-*   *   none          both ends belong to it; * is the highest number, alone all of them
//	Rect   1:1   0x100-0x1ff:*   proc   *         idx range : val range, a name, or * for everything
//	Set    proc, 0x100-0x1ff:*                    rectangles with commas or space between; none for nothing
//
// Numbers have no sign other than -1, and leading zeros do not make them octal. Output is
// always decimal, so that equal identifiers have equal text; names are input only (see [ID.Name]).
//
// # Ranges
//
// A [Range] is half open, [First, First+Count), and its sum has 64 bits. The
// notifier of 2005 added in 32 bits, where a range that passed the highest number came out empty;
// here it ends at the highest number.
package cbid
