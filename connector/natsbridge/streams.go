package natsbridge

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

// streamKind is what is asked of the stream of a durable group.
type streamKind uint8

const (
	streamOpen   streamKind = iota + 1 // where it begins and ends; made if it is not there
	streamDefine                       // made, or given other bounds
	streamDelete                       //
	streamLast                         // the last message of this host in it
	streamAppend                       // all of the messages behind that one, or none
	streamFetch                        // some messages, from seq on
	streamList                         // which groups have one
	streamLook                         // where it begins and ends; never made
)

// streamOp is one operation, and what is to be done then.
type streamOp struct {
	kind  streamKind
	group uint32
	want  connector.History
	seq   uint64   // streamAppend: of this host's last message, 0: there is none. streamFetch: of the first wanted
	batch [][]byte // streamAppend
	ids   []string // of them, by which the store knows one that it has already
	still bool     // streamAppend: and only if the stream's last message is that at end
	end   uint64
	name  string // of the batch
	then  func(streamResult)
}

type streamResult struct {
	epoch       uint64 // streamOpen, streamLook
	first, last uint64 // streamOpen, streamLook, streamLast that has found none; first: streamFetch too
	batch       int    // streamOpen, streamLook: how many messages one streamAppend may have
	contact     int64  // streamOpen, streamLook: ns since the server that answered has heard of so many others that it leads; 0: it is alone
	seq         uint64 // streamAppend: of the last one
	msgs        []streamMsg
	groups      map[uint32]connector.History // streamList
	err         error
}

// streamMsg is a message in a stream.
type streamMsg struct {
	seq  uint64
	host uint16 // of the subject
	name string // of that host, as the store has it; "" if it has none
	data []byte
}

// What a stream refuses. Any other error says nothing: the operation may have been done.
var (
	errStreamBehind = errors.New("this host's last message is another one")
	errStreamHas    = errors.New("the store has these messages already")
	errStreamNone   = errors.New("no such stream")
	errStreamFull   = errors.New("the store has no room")
	errStreamDenied = errors.New("the store refuses")
	errStreamOld    = errors.New("a server that does not lead any more has answered, or messages that were stored are lost")
)

// refusal is what a client is told of it.
func streamError(err error) *connector.Error {
	if errors.Is(err, errStreamDenied) {
		return connector.ErrPermission
	}
	return connector.ErrLimit
}

// definite reports whether err says that nothing was done, and nothing will be by asking again.
func definite(err error) bool {
	return errors.Is(err, errStreamFull) || errors.Is(err, errStreamDenied)
}

// streamMsgID names message number n of this run of a host.
func streamMsgID(host uint16, run, n uint64) string { return fmt.Sprintf("%d-%x-%d", host, run, n) }
