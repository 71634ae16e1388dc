//go:build unix && !linux

package tsocket

// hangupWatch does nothing here: no event tells of a peer that has gone while
// nobody reads.
type hangupWatch struct{}

func (w *hangupWatch) seen() bool       { return false }
func (w *hangupWatch) forget(*fdStream) {}
func (w *hangupWatch) forgetClosed()    {}

func (s *fdStream) watchWrite(int) bool { return false }

func (s *fdStream) watchedElsewhere() error { return nil }
func (s *fdStream) onHangup()               {}
