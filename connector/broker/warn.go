package broker

// warnMax is how many lines a second the log gets about the clients of one uid:
// what they do wrong must not fill the disk.
const warnMax = 20

// warnings counts the lines of the present second by uid.
type warnings struct {
	second int64
	lines  map[uint32]int
}

// one asks for a line about uid. omitted are the lines of an earlier second that were not granted.
func (w *warnings) one(now int64, uid uint32) (granted bool, omitted map[uint32]int) {
	if s := now / 1e9; s != w.second {
		for uid, n := range w.lines {
			if n > warnMax {
				if omitted == nil {
					omitted = make(map[uint32]int)
				}
				omitted[uid] = n - warnMax
			}
		}
		clear(w.lines)
		w.second = s
	}
	if w.lines == nil {
		w.lines = make(map[uint32]int)
	}
	w.lines[uid]++
	return w.lines[uid] <= warnMax, omitted
}

// warn tells the operator what a client did. Of more than warnMax lines a second the
// number is told, with the next line of a later one.
func (h *hub) warn(c *conn, msg, why string) {
	granted, omitted := h.warnings.one(h.now, c.cred.UID)
	for uid, n := range omitted {
		h.log.Warn("lines left out", "uid", uid, "lines", n)
	}
	if granted {
		h.log.Warn(msg, "port", c.port, "uid", c.cred.UID, "pid", c.cred.PID, "name", c.name, "why", why)
	}
}
