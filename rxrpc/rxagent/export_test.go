package rxagent

// Handles returns how many data of interceptors the agent remembers.
func (a *Agent) Handles() (n int) {
	for _, k := range a.socks() {
		k.mu.Lock()
		n += len(k.handles.calls)
		k.mu.Unlock()
	}
	return n
}

// Pending returns how many requests there are that could be given up.
func (a *Agent) Pending() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.owners {
		o.mu.Lock()
		n += len(o.pending)
		o.mu.Unlock()
	}
	return n
}

// GivenUp returns how many owners have ended and are about to go.
func (a *Agent) GivenUp() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.owners {
		o.mu.Lock()
		if o.gone {
			n++
		}
		o.mu.Unlock()
	}
	return n
}

// Reading returns how many answers to STAT are kept for who reads them.
func (a *Agent) Reading() int {
	a.reading.mu.Lock()
	defer a.reading.mu.Unlock()
	return len(a.reading.all)
}
