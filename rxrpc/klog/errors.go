package klog

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
)

// An Error says what could not be done, and with what.
type Error struct {
	Op   string // "log in", "get a ticket for", "read" ...
	What string // principal, file, cell
	Err  error
}

func (e *Error) Error() string { return "klog: " + e.Op + " " + e.What + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

func fail(op, what string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, what, err}
}

// A KDCError is what a KDC says no with (RFC 4120, section 7.5.9). It wraps an errno: ENOENT for principals that it does not know, EACCES
// for a wrong password or key and for users that may not, EPROTO otherwise.
type KDCError struct {
	Code int32
	Text string // what the KDC says besides
}

func (e *KDCError) Error() string {
	s := fmt.Sprintf("the KDC says %d", e.Code)
	if what, ok := said[e.Code]; ok {
		s = fmt.Sprintf("the KDC says: %s (%d)", what.text, e.Code)
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns the errno.
func (e *KDCError) Unwrap() error {
	if what, ok := said[e.Code]; ok {
		return what.errno
	}
	return syscall.EPROTO
}

var said = map[int32]struct {
	text  string
	errno syscall.Errno
}{
	errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN: {"no such user", syscall.ENOENT},
	errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN: {"no such service", syscall.ENOENT},
	errorcode.KDC_ERR_PREAUTH_FAILED:      {"wrong password or key", syscall.EACCES},
	errorcode.KDC_ERR_PREAUTH_REQUIRED:    {"the user is to be shown in a way that is not supported", syscall.EACCES},
	errorcode.KDC_ERR_CLIENT_REVOKED:      {"the user is locked", syscall.EACCES},
	errorcode.KDC_ERR_KEY_EXPIRED:         {"the password has expired", syscall.EACCES},
	errorcode.KDC_ERR_NAME_EXP:            {"the user has expired", syscall.EACCES},
	errorcode.KDC_ERR_POLICY:              {"its policy does not allow it", syscall.EACCES},
	errorcode.KDC_ERR_ETYPE_NOSUPP:        {"no encryption type in common", syscall.EPROTO},
	errorcode.KRB_AP_ERR_SKEW:             {"the clocks differ too much", syscall.EPROTO},
	errorcode.KRB_AP_ERR_TKT_EXPIRED:      {"the ticket has expired", syscall.EACCES},
	errorcode.KDC_ERR_WRONG_REALM:         {"the user is of another realm", syscall.ENOENT},
}

// isCode reports whether a KDC has said that.
func isCode(err error, code int32) bool {
	var e *KDCError
	return errors.As(err, &e) && e.Code == code
}
