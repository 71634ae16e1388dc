package client

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

var errBoth = fmt.Errorf("both a port and a group: %w", connector.ErrInvalid)

// refusal is an answer's code with the broker's own words, where they say more
// than the code does.
func refusal(code uint16, text []byte) error {
	err := connector.ErrorFromCode(code)
	if err == nil || len(text) == 0 || string(text) == err.Error() {
		return err
	}
	return fmt.Errorf("%w: %q", err, text)
}

// violation is an error of the broker: the connection is of no use any more.
func violation(format string, args ...any) error {
	return fmt.Errorf("broker: "+format+": %w", append(args, connector.ErrProtocol)...)
}

// unexpected is the violation of a frame that has no business on a connection.
func unexpected(h *frame.Header) error {
	return violation("unexpected frame of type %d, %d bytes", h.Type, h.Len)
}

// byeError is the error of a Bye. The connection ends with it.
func byeError(h *frame.Header, body []byte) error {
	if err := refusal(h.Code, body); err != nil {
		return err
	}
	return connector.ErrShutdown
}

// interrupted wraps the cause of a break, so that errors.Is finds
// ErrInterrupted as well as the cause.
func interrupted(cause error) error {
	if cause == nil || errors.Is(cause, connector.ErrInterrupted) || errors.Is(cause, connector.ErrClosed) {
		return cause
	}
	return &interruption{cause}
}

type interruption struct{ cause error }

func (e *interruption) Error() string {
	return connector.ErrInterrupted.Error() + ": " + e.cause.Error()
}

func (e *interruption) Unwrap() []error { return []error{connector.ErrInterrupted, e.cause} }

func opErr(op string, err error) error {
	if err == nil {
		return nil
	}
	return &connector.OpError{Op: op, Err: err}
}

func idErr(op string, id cbid.ID, err error) error {
	if err == nil {
		return nil
	}
	return &connector.OpError{Op: op, ID: id, HasID: true, Err: err}
}

func groupErr(op string, group uint32, err error) error {
	if err == nil {
		return nil
	}
	return &connector.OpError{Op: op, Group: group, Err: err}
}

// sendErr is the error of a message; delivered says that it may have arrived.
func sendErr(op string, id cbid.ID, to connector.Dest, err error, delivered bool) error {
	return &connector.OpError{
		Op: op, ID: id, HasID: true, Port: to.Port, Group: to.Group, Err: err, MayBeDelivered: delivered,
	}
}
