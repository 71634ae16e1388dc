package rxkad

import (
	"fmt"
	"io"
)

// What holds session keys prints without them, whatever the verb.

func (c *clientConn) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "rxkad client connection (%v, %v)", c.id.CID, c.level)
}

func (c *serverConn) Format(f fmt.State, _ rune) {
	if c.secure == nil {
		_, _ = fmt.Fprintf(f, "rxkad server connection (%v, not authenticated)", c.id.CID)
		return
	}
	_, _ = fmt.Fprintf(f, "rxkad server connection (%v, %v, %v)", c.id.CID, c.secure.Identity.Level, &c.secure.Identity)
}

func (s *secure) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "rxkad.secure{...}") }
func (s *sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "rxkad.sealer{...}") }
func (t *ticket) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "rxkad.ticket{...}") }
