package broker

// warnMax is how many lines a second the log gets about the clients of one uid:
// what they do wrong must not fill the disk.
const warnMax = 20

// warnings counts the lines of the present second by uid.
type warnings struct {
	second int64
	lines  map[uint32]int
}

// warn tells the operator what a client did. Of more than warnMax lines a second the
// number is told, with the next line of a later one.
func (h *hub) warn(c *conn, msg, why string) {
	w := &h.warnings
	if s := h.now / 1e9; s != w.second {
		for uid, n := range w.lines {
			if n > warnMax {
				h.log.Warn("lines left out", "uid", uid, "lines", n-warnMax)
			}
		}
		clear(w.lines)
		w.second = s
	}
	if w.lines == nil {
		w.lines = make(map[uint32]int)
	}
	if w.lines[c.cred.UID]++; w.lines[c.cred.UID] <= warnMax {
		h.log.Warn(msg, "port", c.port, "uid", c.cred.UID, "pid", c.cred.PID, "name", c.name, "why", why)
	}
}
