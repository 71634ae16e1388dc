package tsocket

// NewGoLoop makes a loop as on systems without epoll.
func NewGoLoop(c *LoopConfig) *Loop { return newLoop(c, newGoPoller()) }
