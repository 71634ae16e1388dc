package broker

import (
	"context"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Uplink is the bridge to other hosts' brokers, as the broker sees it. What passes are frames of
// docs/protocol.md: those that a local client sent for another host are given to that host's broker as they are,
// as if the client were connected there (Site.Input), and the answers to them come back (Deliver).
//
// The methods are called on the broker's loop, one at a time. They must not block, must not call a SiteLoop, and
// copy what they keep of a frame. Ports in arguments and frames are site-wide ones (connector.SitePort).
type Uplink interface {
	// Forward takes a frame (Send, Follow or Unfollow) of the local client with that port for a host. pos in a Send is
	// the number of frames of the client that have been handled. Of a Send with flag Ack the tag is
	// the broker's own: Deliver of the Ack needs it.
	Forward(host, port uint32, cred connector.Cred, frame []byte)

	// Publish takes a Send to a group in which there are members on other hosts, that is neither to be
	// acknowledged nor waits; one that is, is forwarded to each of those hosts.
	Publish(group, port uint32, cred connector.Cred, frame []byte)

	// Answer takes a frame (Ack, Fail, Lost, Stop, Go, Gone or PortGone) for the client with that port of a host.
	Answer(host, port uint32, frame []byte)

	// Consumed says that n bytes of frames given to Input for that remote client have been handled: at once,
	// within Input, unless that client has to wait.
	Consumed(host, port uint32, n int)

	// Members says that the group got its first local member, or lost its last. Who joined, or left, is
	// answered when SiteLoop.MembersDone is called.
	Members(group uint32, some bool)

	// Append takes a Send to a durable group of the local client with that port. Deliver, for host 0, of an Ack or a
	// Fail says what becomes of it, and Credit when: an Ack comes when the store has it.
	Append(group uint32, want connector.History, port uint32, cred connector.Cred, frame []byte)

	// Locate asks where the history of a durable group begins and ends; one that is not there is made. SiteLoop.Located
	// answers.
	Locate(group uint32, want connector.History)

	// Read has SiteLoop.Stored called for each message of a durable group, from that position on, until Read
	// with position 0.
	Read(group uint32, pos uint64)

	// Fetch asks for some of the messages of a durable group from that position on. SiteLoop.Fetched answers.
	Fetch(group uint32, pos uint64)

	// Define makes a group durable for the site, changes its bounds or, with a zero one, ends its history on all hosts. Those
	// of a group are done one after the other. SiteLoop.Defined, with that tag, answers.
	Define(group, tag uint32, want connector.History)

	// Register asks for an id for all hosts, for a local client. Granted answers it.
	Register(info connector.IDInfo, takeover bool)

	// Unregister gives up what was asked for by Register. Unregistered answers it.
	Unregister(id cbid.ID)

	// ClientGone says that a local client, of which something was forwarded, is gone.
	ClientGone(port uint32)

	// Flush ends a turn of the loop in which one of the other methods was called.
	Flush()
}

// JoinConfig says how a broker is joined to others.
type JoinConfig struct {
	// Host is the number of this host, 1 to connector.MaxHost.
	Host uint32

	Uplink Uplink

	// SiteWide says which ids are registered for all hosts without the client's asking, those that are registered
	// already among them. nil: none.
	SiteWide func(cbid.ID) bool

	// Durable are the groups that the site's store has a history of; SetDurable says what changes.
	Durable map[uint32]connector.History

	// Local says which groups stay on their host: they are never durable. nil: none.
	Local func(group uint32) bool
}

// Site is the broker's place among the brokers that it is joined to.
type Site struct {
	b *Broker
	s *site
}

// SiteLoop is what a bridge tells the broker, on the broker's loop: see Site.Post.
type SiteLoop struct{ s *site }

// Join connects the broker to others by a bridge; there is one at a time. Clients that connect from now on have
// site-wide port ids. Members is called for the groups that have members already.
func (b *Broker) Join(ctx context.Context, cfg *JoinConfig) (*Site, error) {
	fail := func(err error) (*Site, error) { return nil, &connector.OpError{Op: "join a site", Err: err} }
	if cfg == nil || cfg.Uplink == nil || cfg.Host == 0 || cfg.Host > connector.MaxHost {
		return fail(fmt.Errorf("a bridge and a host number from 1 to %d are needed: %w", connector.MaxHost, connector.ErrInvalid))
	}
	var s *site
	err := b.loop.do(ctx, func() {
		if b.loop.hub.site == nil {
			s = b.loop.hub.join(cfg)
		}
	})
	switch {
	case err != nil:
		return fail(err)
	case s == nil:
		return fail(fmt.Errorf("the broker is joined already: %w", connector.ErrDuplicate))
	}
	return &Site{b: b, s: s}, nil
}

// Post runs f on the broker's loop. It returns false if the broker has ended; after Leave f is not
// run.
func (t *Site) Post(f func(*SiteLoop)) bool {
	return t.b.loop.post(func() {
		if t.s.h.site == t.s {
			f(&SiteLoop{t.s})
		}
	})
}

// Poster returns what has f run on the loop each time that it is called, like Post, but for which nothing is allocated.
func (t *Site) Poster(f func(*SiteLoop)) func() bool {
	l := &SiteLoop{t.s}
	run := func() {
		if t.s.h.site == t.s {
			f(l)
			t.b.loop.flush() // or what follows in this turn finds its receivers full
		}
	}
	return func() bool { return t.b.loop.post(run) }
}

// Flush has Uplink.Flush called at the end of this turn of the loop, when the clients were sent what is for them.
func (l *SiteLoop) Flush() { l.s.busy = true }

// Leave undoes Join: everything of other hosts goes, and the registrations for all hosts are this host's own again.
// No method of the Uplink is called after it.
func (t *Site) Leave(ctx context.Context) error {
	err := t.b.loop.do(ctx, func() {
		if t.s.h.site == t.s {
			t.s.leave()
		}
	})
	if err != nil {
		return &connector.OpError{Op: "leave a site", Err: err}
	}
	return nil
}

// Host is the number of this host.
func (t *Site) Host() uint32 { return t.s.host }
