package rxagent

import "sync"

// A lane is a queue of things that may wait, done in order by a goroutine that is there while the queue
// is not empty.
type lane struct {
	mu   sync.Mutex // guards what follows
	q    []func()
	busy bool
}

// idle reports whether everything is done.
func (l *lane) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.busy
}

// put adds something; false if most wait already. wg is raised while the goroutine is there.
func (l *lane) put(wg *sync.WaitGroup, most int, f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if most > 0 && len(l.q) >= most {
		return false
	}
	l.q = append(l.q, f)
	if !l.busy {
		l.busy = true
		wg.Go(l.run)
	}
	return true
}

func (l *lane) run() {
	for {
		l.mu.Lock()
		if len(l.q) == 0 {
			l.q, l.busy = nil, false
			l.mu.Unlock()
			return
		}
		f := l.q[0]
		l.q[0] = nil
		l.q = l.q[1:]
		l.mu.Unlock()
		f()
	}
}
