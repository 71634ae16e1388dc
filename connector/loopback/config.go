package loopback

import "log/slog"

// Config are the settings of a Hub. A nil Config and zero fields mean the defaults.
type Config struct {
	// QueueMessages and QueueBytes bound the receive queue of an endpoint: it is full when a
	// further message would exceed either, where a message counts with its 36 bytes of headers.
	// Defaults 4096 and 1 MiB; at most 1 GiB. An empty queue takes any message.
	QueueMessages int
	QueueBytes    int

	// CallbackMessages and CallbackBytes bound what waits for a busy callback. Defaults 1024 and 1 MiB.
	CallbackMessages int
	CallbackBytes    int

	// HistoryBytes is the most memory that the history of one group takes, whatever its
	// bounds; older messages are evicted for it. Default 64 MiB.
	HistoryBytes int

	// Limits of one Bus. Defaults 65536 each, Watches and NotifyRequests 1024.
	Callbacks      int // ids registered at once
	Endpoints      int // open at once
	Memberships    int // of all its endpoints
	Watches        int
	Follows        int // ports
	NotifyRequests int // of one endpoint to the control id

	// Calls bounds the outstanding calls of one endpoint. Default 65536.
	Calls int

	// WatchBacklog is how many changes wait for a watcher before it has to begin
	// again (ChangeResync). Default 256.
	WatchBacklog int

	// Log is told of panics in callbacks. Default slog.Default().
	Log *slog.Logger
}

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&d.QueueMessages, 4096},
		{&d.QueueBytes, 1 << 20},
		{&d.CallbackMessages, 1024},
		{&d.CallbackBytes, 1 << 20},
		{&d.HistoryBytes, 64 << 20},
		{&d.Callbacks, 1 << 16},
		{&d.Endpoints, 1 << 16},
		{&d.Memberships, 1 << 16},
		{&d.Watches, 1024},
		{&d.NotifyRequests, 1024},
		{&d.Calls, 1 << 16},
		{&d.Follows, 1 << 16},
		{&d.WatchBacklog, 256},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	d.QueueBytes = min(d.QueueBytes, 1<<30)
	if d.Log == nil {
		d.Log = slog.Default()
	}
	return d
}
