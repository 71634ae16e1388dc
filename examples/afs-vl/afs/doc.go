// Package afs has remote procedures of AFS's database and process servers: VL
// (where volumes are), PR (users and groups), BOZO (processes) and VOTE (the
// state of a replicated database), for clients and for servers. It knows bytes only: a
// request goes in and a reply comes out, so that it stands on any transport that
// carries both.
//
// A request is the number of the procedure and its arguments, a reply its results, all
// in XDR (RFC 4506) as rxgen makes it: a character of a fixed array takes four
// bytes, like any other integer. A call that fails has no reply but an abort with a
// Code.
//
//	request, err := afs.Request(afs.VLProbeServer, afs.None{})
//	reply, err := service.Answer(ctx, request) // at the server; err is a Code
//	entry, err := afs.Reply[afs.VolumeEntry](reply)
package afs
