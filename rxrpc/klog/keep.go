package klog

import (
	"context"
	"time"
)

// Times of Keep.
const (
	// minRetry and maxRetry are how long it waits after a failure: twice as long each time.
	minRetry = 10 * time.Second
	maxRetry = 10 * time.Minute
)

// Keep gets a token, hands it to use, and gets the next one when two thirds of its life are over, until ctx ends, whose error it
// returns. A token that could not be got, or that use could not use, is tried again after 10 s, 20 s, ... 10 min; failed, which may be nil, is
// told of it. Only the first one must succeed: its error is returned.
//
// The Credential is use's own.
func Keep(ctx context.Context, cfg Config, use func(*Credential) error, failed func(error)) error {
	s, err := open(cfg)
	if err != nil {
		return err
	}
	defer s.wipe()
	return keep(ctx, s.get, use, failed)
}

func keep(ctx context.Context, get func(context.Context) (*Credential, error), use func(*Credential) error, failed func(error)) error {
	retry := minRetry
	for first := true; ; first = false {
		c, err := get(ctx)
		if err == nil {
			err = use(c)
		}
		wait := retry
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			wait, retry = untilNext(time.Now(), c.Begins, c.Expires), minRetry
		case first:
			return err
		default:
			retry = min(2*retry, maxRetry)
			if failed != nil {
				failed(err)
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// untilNext is how long a new token can wait.
func untilNext(now, begins, expires time.Time) time.Duration {
	return max(begins.Add(expires.Sub(begins)*2/3).Sub(now), minRetry)
}
