package procevent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cnbus/cnbus/connector"
)

// Filter says which events a subscriber of the agent wants. Each criterion that
// is set must hold; of the values of one any may. The zero Filter is everything.
//
// Losses pass every filter.
type Filter struct {
	// Kinds are the kinds of events; 0 means all.
	Kinds Mask

	// UIDs are real user ids: the event's process runs for one of them.
	UIDs []uint32

	// Cgroups are paths as in /proc/PID/cgroup; the process is in one of them or below.
	Cgroups []string

	// Trees are process ids: the process is one of them or a descendant. One that
	// lost its parents after the subscription began stays a descendant.
	Trees []uint32
}

// Bounds of a Filter, which the agent enforces.
const (
	MaxFilterUIDs    = 64
	MaxFilterCgroups = 16
	MaxFilterTrees   = 64
	MaxCgroupLen     = 4095
)

// IsZero reports whether f lets everything pass.
func (f *Filter) IsZero() bool {
	return f.Kinds.all() && len(f.UIDs) == 0 && len(f.Cgroups) == 0 && len(f.Trees) == 0
}

// Check reports what is wrong with f, as an error that wraps connector.ErrInvalid.
func (f *Filter) Check() error {
	switch {
	case f.Kinds&^(All|Mask(NonzeroExit)) != 0:
		return badFilter("mask %#x has bits of no event", uint32(f.Kinds))
	case len(f.UIDs) > MaxFilterUIDs:
		return badFilter("%d user ids, at most %d", len(f.UIDs), MaxFilterUIDs)
	case len(f.Cgroups) > MaxFilterCgroups:
		return badFilter("%d cgroups, at most %d", len(f.Cgroups), MaxFilterCgroups)
	case len(f.Trees) > MaxFilterTrees:
		return badFilter("%d process trees, at most %d", len(f.Trees), MaxFilterTrees)
	}
	for _, c := range f.Cgroups {
		if len(c) > MaxCgroupLen || !strings.HasPrefix(c, "/") || strings.ContainsAny(c, "\x00\n") {
			return badFilter("cgroup %.64q is no absolute path of at most %d bytes", c, MaxCgroupLen)
		}
	}
	if n := len(f.appendSubscribe(nil, 0, native)); n > maxSubscribe {
		return badFilter("%d bytes, at most %d", n, maxSubscribe)
	}
	return nil
}

func badFilter(format string, args ...any) error {
	return fmt.Errorf("filter: "+format+": %w", append(args, connector.ErrInvalid)...)
}

// canonical returns the filter that all filters of the same meaning share.
func (f *Filter) canonical() Filter {
	c := Filter{Kinds: f.Kinds.normal(), UIDs: sortedSet(f.UIDs), Trees: sortedSet(f.Trees)}
	if c.Kinds.all() {
		c.Kinds = All // NonzeroExit adds nothing to it
	} else if c.Kinds&Mask(Exit) != 0 {
		c.Kinds &^= Mask(NonzeroExit)
	}
	for _, p := range f.Cgroups {
		if p != "/" {
			p = strings.TrimRight(p, "/")
		}
		if p == "" {
			p = "/"
		}
		c.Cgroups = append(c.Cgroups, p)
	}
	c.Cgroups = sortedSet(c.Cgroups)
	return c
}

func sortedSet[T uint32 | string](s []T) []T {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// attributes reports whether f asks for more than the event itself tells.
func (f *Filter) attributes() bool {
	return len(f.UIDs) > 0 || len(f.Cgroups) > 0 || len(f.Trees) > 0
}

// inCgroup reports whether path is one of f.Cgroups (canonical) or below one.
func (f *Filter) inCgroup(path string) bool {
	for _, c := range f.Cgroups {
		if c == "/" || path == c || len(path) > len(c) && path[len(c)] == '/' && path[:len(c)] == c {
			return true
		}
	}
	return false
}
