package cc

// minWindow is how long the smallest round trip is believed (Linux: 5 min).
const minWindow = 300 * Second

// A minFilter holds the smallest of the values of the last minWindow, to within a
// third of it: the best of three successive parts. (RFC 8985, section 6.2 step 1
// asks for some windowed minimum.)
type minFilter struct {
	part  [3]Time // smallest of each part, 0 none
	since Time    // when part[0], the latest, began
}

func (m *minFilter) add(now, v Time) {
	m.turn(now)
	if m.part[0] == 0 || v < m.part[0] {
		m.part[0] = v
	}
}

// turn moves on by the parts that have passed.
func (m *minFilter) turn(now Time) {
	const span = minWindow / 3
	if m.part == [3]Time{} {
		m.since = now
		return
	}
	for i := 0; i < len(m.part) && now-m.since >= span; i++ {
		m.part = [3]Time{0, m.part[0], m.part[1]}
		m.since += span
	}
	if now-m.since >= span {
		m.since = now
	}
}

// get returns the smallest value, 0 if there is none.
func (m *minFilter) get(now Time) Time {
	least := m.part[0]
	for _, v := range m.part[1:] {
		if v != 0 && (least == 0 || v < least) {
			least = v
		}
	}
	return least
}
