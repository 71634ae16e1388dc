package tsagent

// Reading returns how many snapshots are kept for who reads them.
func (a *Agent) Reading() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.reading)
}
