package broker

import "github.com/cnbus/cnbus/connector"

// Stats counts what a broker did since it began.
type Stats struct {
	Accepted     uint64            `json:"accepted"`      // connections
	Closed       uint64            `json:"closed"`        // connections
	Refused      uint64            `json:"refused"`       // connections, by policy or limit
	AcceptErrors uint64            `json:"accept_errors"` // connections that the system could not give
	Violations   uint64            `json:"violations"`    // of the protocol; each ended a connection
	Limited      uint64            `json:"limited"`       // requests refused by a limit
	Sent         uint64            `json:"sent"`          // messages taken from clients
	Delivered    uint64            `json:"delivered"`     // messages queued for clients
	Lost         uint64            `json:"lost"`          // messages dropped at a full receiver
	LostUntold   uint64            `json:"lost_untold"`   // of these, receivers went away before they were told
	Stops        uint64            `json:"stops"`         // senders told to stop
	Pauses       uint64            `json:"pauses"`        // senders that did not, and clients that do not read their answers
	Failed       map[string]uint64 `json:"failed"`        // sends refused, by reason
}

func (s *Stats) refused(err *connector.Error) {
	if s.Failed == nil {
		s.Failed = make(map[string]uint64)
	}
	s.Failed[err.Error()]++
}

// ConnStats counts what one client did.
type ConnStats struct {
	FramesIn  uint64 `json:"frames_in"`  // messages and requests
	BytesIn   uint64 `json:"bytes_in"`   // all that was read
	BytesOut  uint64 `json:"bytes_out"`  // all that was written
	Sent      uint64 `json:"sent"`       // messages
	SentBytes uint64 `json:"sent_bytes"` // of frames with messages
	Failed    uint64 `json:"failed"`     // messages that were refused
	Delivered uint64 `json:"delivered"`  // messages queued for it
	Lost      uint64 `json:"lost"`       // messages dropped because it was full
}
