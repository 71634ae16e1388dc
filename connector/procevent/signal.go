package procevent

import (
	"io"
	"os"
	"os/signal"
	"sync"
)

// CloseOnSignal closes c when the process gets one of the signals (the usual
// ones that end it, if none are given: interrupt, terminate, hang-up, broken
// pipe, quit) and then lets the signal end the process as if it had not been caught. stop
// undoes it.
//
// A program that writes to a pipe dies of SIGPIPE when its reader leaves, as in
// `program | head`; without IGNORE the kernel then produces events for nobody until the
// next boot. Nothing helps against SIGKILL: see `cnbus doctor`.
func CloseOnSignal(c io.Closer, sigs ...os.Signal) (stop func()) {
	if len(sigs) == 0 {
		sigs = endSignals
	}
	ch := make(chan os.Signal, 1)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	signal.Notify(ch, sigs...)
	wg.Go(func() {
		select {
		case s := <-ch:
			signal.Stop(ch)
			c.Close()
			signal.Reset(s)
			raise(s)
		case <-quit:
		}
	})
	return sync.OnceFunc(func() {
		signal.Stop(ch)
		close(quit)
		wg.Wait()
	})
}
