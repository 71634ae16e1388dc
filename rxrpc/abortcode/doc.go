// Package abortcode knows the names of the codes that AFS servers and clients
// abort calls with: those of RxRPC itself and of its stub compiler, of the security
// classes, and of the com_err tables of the AFS services.
//
// A code of a com_err table is 256 times a number made of the table's name, up
// to four characters of six bits each, plus an offset. So the table of any such code can be told, also
// of a code that this package has no name for.
//
// Names and numbers are those of the installed headers of OpenAFS 1.8
// (afs/*.h, rx/*.h, ubik.h), and for RxGK those of Linux's include/uapi/linux/rxrpc.h. The texts are
// this package's own.
package abortcode
