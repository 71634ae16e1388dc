package busbench

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// stormProgram ends at once.
const stormProgram = "true"

// storm starts processes one after the other and returns their ids.
func storm(ctx context.Context, p *role.Proc) error {
	path, err := exec.LookPath(stormProgram)
	if err != nil {
		return err
	}
	role.Handle(p, opRun, func(ctx context.Context, n int) ([]uint32, error) {
		pids := make([]uint32, 0, n)
		for range n {
			cmd := exec.CommandContext(ctx, path)
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("process %d of the storm: %w", len(pids)+1, err)
			}
			pids = append(pids, uint32(cmd.Process.Pid))
		}
		return pids, nil
	})
	return p.Serve(ctx, nil)
}
