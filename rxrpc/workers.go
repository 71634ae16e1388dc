package rxrpc

import "sync"

// workers are the goroutines that run handlers. They are made when needed, and a
// few that have nothing to do are kept. A worker that takes a call while others wait wakes,
// or makes, one more: so a handler that waits holds nobody up, and handlers that do not are
// run one after the other by one worker, whose replies then leave together.
type workers struct {
	max int

	// mu guards what follows.
	mu     sync.Mutex
	queue  []*ServerCall // from head on
	head   int
	n      int // workers
	idle   []*worker
	waking int // woken or made, but not running yet
	closed bool
	all    sync.WaitGroup
}

type worker struct{ wake chan struct{} }

// keepIdle is how many workers without work are kept.
const keepIdle = 64

func (p *workers) init(limit int) { p.max = limit }

// dispatch has a worker run s.
func (p *workers) dispatch(s *ServerCall) {
	p.mu.Lock()
	if p.head > len(p.queue)/2 && len(p.queue) == cap(p.queue) {
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, s)
	p.oneMore()
	p.mu.Unlock()
}

// oneMore gets another worker going, unless one is about to come. p.mu is held.
func (p *workers) oneMore() {
	if p.waking > 0 || p.head == len(p.queue) {
		return
	}
	if k := len(p.idle); k > 0 {
		w := p.idle[k-1]
		p.idle = p.idle[:k-1]
		p.waking++
		w.wake <- struct{}{}
		return
	}
	if p.n < p.max && !p.closed {
		p.n++
		p.waking++
		p.all.Add(1)
		go p.work(&worker{wake: make(chan struct{}, 1)})
	}
}

// work is a worker.
func (p *workers) work(w *worker) {
	defer p.all.Done()
	p.mu.Lock()
	p.waking--
	for {
		for p.head < len(p.queue) {
			s := p.queue[p.head]
			p.queue[p.head] = nil
			if p.head++; p.head == len(p.queue) {
				p.queue, p.head = p.queue[:0], 0
			}
			more := p.head < len(p.queue)
			p.oneMore()
			p.mu.Unlock()
			s.run(more)
			p.mu.Lock()
		}
		if p.closed || len(p.idle) >= keepIdle {
			p.n--
			p.mu.Unlock()
			return
		}
		p.idle = append(p.idle, w)
		p.mu.Unlock()
		<-w.wake
		p.mu.Lock()
		p.waking--
	}
}

// close ends the workers; those that run a handler when it has returned.
func (p *workers) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, w := range p.idle {
			p.waking++
			w.wake <- struct{}{}
		}
		p.idle = nil
	}
	p.mu.Unlock()
	p.all.Wait()
}
