package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cbid"
)

// ParseID reads an id; an error is about the command line.
func ParseID(s string) (cbid.ID, error) {
	id, err := cbid.Parse(s)
	if err != nil {
		return id, &UsageError{err}
	}
	return id, nil
}

// ParseSet reads ids and ranges, nil (all) for none.
func ParseSet(args []string) (*cbid.Set, error) {
	if len(args) == 0 {
		return nil, nil
	}
	set, err := cbid.ParseSet(strings.Join(args, ","))
	if err != nil {
		return nil, &UsageError{err}
	}
	return set, nil
}

// ParseGroup reads a group: a number, or an id or name, whose group it is.
func ParseGroup(s string) (uint32, error) {
	if n, err := strconv.ParseUint(s, 0, 32); err == nil {
		return uint32(n), nil
	}
	id, err := cbid.Parse(s)
	if err != nil {
		return 0, Usagef("%q is no group: a number, an id or a name is wanted", s)
	}
	return id.Idx, nil
}

// Wait waits for d, or for the end of ctx, whose error it returns.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
