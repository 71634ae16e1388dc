package procevent

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// resolver reads processes in a bounded number of goroutines. A file of
// /proc can block (cmdline waits for the memory map of a process that is
// stopped in the kernel), so who asks waits only for a short time.
type resolver struct {
	root string
	what Enrich
	wait time.Duration
	jobs chan *job
	busy atomic.Int32
	wg   sync.WaitGroup
}

type job struct {
	tgid uint32
	scan bool
	done chan struct{}
	proc process
	all  map[uint32]process
	err  error
}

const (
	resolverWorkers = 2
	resolverWait    = 20 * time.Millisecond
)

func newResolver(root string, what Enrich) *resolver {
	r := &resolver{root: root, what: what, wait: resolverWait, jobs: make(chan *job, resolverWorkers)}
	for range resolverWorkers {
		r.wg.Go(r.work)
	}
	return r
}

func (r *resolver) work() {
	for j := range r.jobs {
		if j.scan {
			j.all, j.err = r.scanAll()
		} else {
			j.proc, j.err = readProcess(r.root, j.tgid, r.what)
		}
		r.busy.Add(-1)
		close(j.done)
	}
}

func (r *resolver) scanAll() (map[uint32]process, error) {
	names, err := readDirNames(r.root)
	if err != nil {
		return nil, err
	}
	all := make(map[uint32]process)
	for _, n := range names {
		tgid, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			continue
		}
		if p, err := readProcess(r.root, uint32(tgid), r.what); err == nil {
			all[uint32(tgid)] = p
		}
	}
	return all, nil
}

func readDirNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// start hands j to a goroutine; false when none is free.
func (r *resolver) start(j *job) bool {
	if r.busy.Add(1) > resolverWorkers {
		r.busy.Add(-1)
		return false
	}
	r.jobs <- j // has room for one to each
	return true
}

type lookupResult uint8

const (
	lookupOK lookupResult = iota
	lookupGone
	lookupBusy // nobody was free
	lookupLate // not done in time
)

// lookup reads one process, waiting for at most r.wait. While all goroutines are
// stuck it does not wait at all.
func (r *resolver) lookup(tgid uint32) (process, lookupResult) {
	j := &job{tgid: tgid, done: make(chan struct{})}
	if !r.start(j) {
		return process{}, lookupBusy
	}
	t := time.NewTimer(r.wait)
	defer t.Stop()
	select {
	case <-j.done:
	case <-t.C:
		return process{}, lookupLate
	}
	if j.err != nil {
		return process{}, lookupGone
	}
	return j.proc, lookupOK
}

// close ends the goroutines. It waits for the lookups that are going on, but not for
// one that is stuck in the kernel.
func (r *resolver) close() {
	close(r.jobs)
	done := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
