// Package bustest is the conformance suite of the bus: what every carrier of
// package connector promises, as tests. A carrier's own tests call Run:
//
//	func TestBus(t *testing.T) {
//		bustest.Run(t, bustest.Carrier{Name: "loopback", Caps: bustest.All(), New: newSite})
//	}
//
// Each test gets a bus of its own (a Site), on which it opens as many handles as
// it needs; each handle stands for another process. What a carrier does not claim in
// its Caps is not tested, and said in the log. No test sleeps: a test that waits, waits
// for something that must come, and fails after Carrier.Patience.
package bustest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/cnbus/cnbus/connector"
	"go.uber.org/goleak"
)

// Carrier is what is tested.
type Carrier struct {
	Name string
	Caps Caps

	// New makes a new, empty bus.
	New func(t testing.TB, opt SiteOptions) Site

	// Flood is how many messages of 8 KiB are surely more than a receiver that
	// does not read can have in all its queues, when SiteOptions.Small is set. Default 2000.
	Flood int

	// Patience is how long a test waits for what must come. Default two minutes.
	Patience time.Duration

	durable bool // the histories are those of a site's store
}

// Site is one bus. A Site that also has a method Interrupt(t testing.TB), which
// breaks every connection once, is tested for what must survive that.
type Site interface {
	// Bus opens a handle, as another process would.
	Bus(t testing.TB, opt BusOptions) connector.Bus
	// Close ends the bus. The suite has closed the handles before.
	Close()
}

// SiteOptions are what a test asks of its bus.
type SiteOptions struct {
	// Small asks for short receive queues, so that a flood fills them quickly.
	Small bool
	// Limits are per owner; a zero field means the carrier's default.
	Limits Limits
}

// Limits are the numbers of things that one owner may have.
type Limits struct {
	Callbacks   int
	Endpoints   int
	Memberships int
	Watches     int
	Notifies    int // requests to the control id
	Follows     int
}

// BusOptions describe a handle.
type BusOptions struct {
	Name string // for people
}

// Caps say what a carrier can do.
type Caps struct {
	Registry   bool // ids can be registered, and a message runs the callback of its id
	NoID       bool // ErrNoID is told
	NoListener bool // ErrNoListener is told
	NoPort     bool // ErrNoPort is told
	Failed     bool // a failed Post is told by EventFailed
	Wait       bool // unicast, and FullWait multicast, waits for room
	Lost       bool // the exact number of what was lost is told where it is missing
	AgentGone  bool // a call whose agent goes ends with ErrAgentGone
	Interest   bool
	Cred       bool // credentials are those of this process
	Notify     bool // the control id
	Watch      bool
	History    bool
	Follow     bool   // FollowPort tells that a port is gone
	Limits     bool   // SiteOptions.Limits are kept
	MaxGroup   uint32 // the highest group; 0 means math.MaxUint32
}

// All are the capabilities of a carrier that can do everything.
func All() Caps {
	return Caps{
		Registry: true, NoID: true, NoListener: true, NoPort: true, Failed: true, Wait: true, Lost: true, AgentGone: true,
		Interest: true, Cred: true, Notify: true, Watch: true, History: true, Follow: true, Limits: true, MaxGroup: math.MaxUint32,
	}
}

// test is one promise.
type test struct {
	name string
	need func(Caps) bool // nil: every carrier
	opt  SiteOptions
	here bool // of a history that is the broker's own: nothing is kept beyond its bounds, and its senders wait for members
	run  func(*env)
}

// Run tests c. It must not run in parallel with other tests: each of its tests
// checks that no goroutine is left.
func Run(t *testing.T, c Carrier) {
	if c.Flood == 0 {
		c.Flood = 2000
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	if c.Caps.MaxGroup == 0 {
		c.Caps.MaxGroup = math.MaxUint32
	}
	c.run(t, []area{
		{"messages", messageTests},
		{"groups", groupTests},
		{"callbacks", callbackTests},
		{"removal", removalTests},
		{"calls", callTests},
		{"strange replies", replyTests},
		{"loss", lossTests},
		{"waiting", waitTests},
		{"interest", interestTests},
		{"credentials", credTests},
		{"notification", notifyTests},
		{"watch", watchTests},
		{"history", historyTests},
		{"ports", followTests},
		{"limits", limitTests},
		{"closing", closeTests},
		{"interruption", interruptTests},
		{"model", modelTests},
	})
}

// RunDurable tests the histories of c alone, as durable ones: they are kept by the store of a site, and a sender waits for that and
// not for members.
func RunDurable(t *testing.T, c Carrier) {
	c.durable = true
	c.Caps.MaxGroup = math.MaxUint32
	c.run(t, []area{{"history", historyTests}})
}

// area are the tests of one matter.
type area struct {
	name  string
	tests []test
}

func (c *Carrier) run(t *testing.T, areas []area) {
	for _, area := range areas {
		t.Run(area.name, func(t *testing.T) {
			for _, tt := range area.tests {
				if tt.need != nil && !tt.need(c.Caps) || tt.here && c.durable {
					t.Logf("%s does not claim: %s", c.Name, tt.name)
					continue
				}
				t.Run(tt.name, func(t *testing.T) { c.one(t, tt) })
			}
		})
	}
}

func (c *Carrier) one(t *testing.T, tt test) {
	before := goleak.IgnoreCurrent()
	func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.Patience)
		defer cancel()
		e := &env{T: t, carrier: c, ctx: ctx, cancel: cancel}
		defer e.end()
		e.site = c.New(t, tt.opt)
		tt.run(e)
	}()
	err := goleak.Find(before)
	for end := time.Now().Add(c.Patience); err != nil && time.Now().Before(end); { // Find pauses
		err = goleak.Find(before)
	}
	if err != nil {
		t.Error(err)
	}
}
