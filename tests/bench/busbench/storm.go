package busbench

import (
	"context"
	"errors"
	"os/exec"
	"sync"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// stormProgram ends at once.
const stormProgram = "true"

// stormWorkers start processes at the same time.
const stormWorkers = 4

// storm starts many short processes and returns their ids.
func storm(ctx context.Context, p *role.Proc) error {
	path, err := exec.LookPath(stormProgram)
	if err != nil {
		return err
	}
	role.Handle(p, opRun, func(ctx context.Context, n int) ([]uint32, error) {
		pids := make([]uint32, n)
		errs := make([]error, stormWorkers)
		var wg sync.WaitGroup
		for w := range stormWorkers {
			wg.Go(func() {
				for i := w; i < n && errs[w] == nil; i += stormWorkers {
					cmd := exec.CommandContext(ctx, path)
					errs[w] = cmd.Run()
					if cmd.Process != nil {
						pids[i] = uint32(cmd.Process.Pid)
					}
				}
			})
		}
		wg.Wait()
		return pids, errors.Join(errs...)
	})
	return p.Serve(ctx, nil)
}
