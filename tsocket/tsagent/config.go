package tsagent

import (
	"log/slog"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// Config are the settings of an Agent. A nil *Config and zero fields mean the defaults.
type Config struct {
	// Policy decides who may do what. nil is DefaultPolicy.
	Policy Policy

	// SocketsPerOwner and SocketsPerUID bound the open sockets of one port of the bus, and of all ports of
	// one uid: beyond them OPEN and ACCEPT fail with EMFILE. Defaults 1024 and 4096.
	SocketsPerOwner int
	SocketsPerUID   int

	// Window is how many bytes of a socket's writes or datagrams the agent takes before the kernel has taken
	// them. Default 256 KiB, at least 128 KiB: the largest datagram has room also while a quarter is not granted again.
	Window int

	// BytesPerUID bounds the memory that the sockets of one uid may take: their windows, and what datagrams are received in and put together
	// from several messages in (about 512 KiB for a UDP socket that receives). Beyond it OPEN, and the first RECVFROM or WINDOW, fail
	// with ENOBUFS. Default 256 MiB.
	BytesPerUID int

	// Quota, if it is set, says instead of SocketsPerUID and BytesPerUID how much each user may have.
	Quota Quota

	// Linger bounds how long the agent goes on to write what had been written to a stream before it was
	// closed, or its owner went. Default 10 s; negative not at all.
	Linger time.Duration

	// Sinks lets an owner have its events sent to an id that is registered on the bus, instead of its
	// port. It is for a bus within one process, where the callback of such an id runs in the goroutine that
	// sends (connector.Inline). On a bus with strangers the agent would send to whatever id they name.
	Sinks bool

	// Loop, if it is set, is where datagrams are received whose owner has a sink: the sink's callback runs in the handlers of that loop, and
	// must not block them. nil: a goroutine of each socket receives.
	Loop *tsocket.Loop

	// Others, if it is not nil, returns sockets that STAT tells of besides, to root and to the agent's user: those that another
	// agent of the process has for itself. Their Owner is not empty. It must not block.
	Others func() []SocketInfo

	// Logger is told what nobody else is. nil means slog.Default().
	Logger *slog.Logger
}

const leastWindow = 128 << 10

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&d.SocketsPerOwner, 1024},
		{&d.SocketsPerUID, 4096},
		{&d.Window, 256 << 10},
		{&d.BytesPerUID, 256 << 20},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	d.Window = min(max(d.Window, leastWindow), 1<<30)
	if d.Linger == 0 {
		d.Linger = 10 * time.Second
	}
	if d.Policy == nil {
		d.Policy = DefaultPolicy()
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return d
}

// Limits are what the sockets of one uid may be and hold together. A negative one is none.
type Limits struct {
	Sockets int   // else EMFILE
	Bytes   int64 // as BytesPerUID; else ENOBUFS
}

// Quota says how much each user may have. Its methods are called by the agent's handler, and must not block.
type Quota interface {
	// Limits is asked for each socket.
	Limits(uid uint32) Limits
	// Exceeded is told of each refusal: of what, "sockets" or "bytes", there is no more than limit.
	Exceeded(cred connector.Cred, what string, limit int64)
}

// limits are those of a uid.
func (c *Config) limits(uid uint32) Limits {
	if c.Quota != nil {
		return c.Quota.Limits(uid)
	}
	return Limits{Sockets: c.SocketsPerUID, Bytes: int64(c.BytesPerUID)}
}

// exceeded tells the Quota.
func (c *Config) exceeded(cred connector.Cred, what string, limit int64) {
	if c.Quota != nil {
		c.Quota.Exceeded(cred, what, limit)
	}
}

// Access is what a process wants to do.
type Access struct {
	Cred connector.Cred // who, as the kernel says
	Port uint32         // its port on the bus

	// Op is OpOpen (Addr is zero), OpBind (also the local address of a CONNECT or LISTEN), OpConnect, OpListen,
	// OpSendTo (to an address other than the connected one), or OpSetOpt (to switch broadcast on).
	Op     Op
	Family string // "ipv4", "ipv6", "unix"
	Stream bool   // else datagrams
	Addr   tsocket.Addr
}

// Policy decides who may do what. Allow is called by the agent's handler, and must not block; it may be called from
// several goroutines at a time. nil is yes. What it returns otherwise becomes EACCES with the error's text, which
// should name the rule that forbids it.
type Policy interface {
	Allow(a *Access) error
}

// PolicyFunc is a function as a Policy.
type PolicyFunc func(a *Access) error

// Allow calls f.
func (f PolicyFunc) Allow(a *Access) error { return f(a) }
