package busbench

import (
	"context"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// StartBroker starts our broker as the rows of this suite have it, for other suites.
func StartBroker(ctx context.Context, socket string) (*role.Process, error) {
	return role.Start(ctx, roleBroker, brokerArgs{Socket: socket}, nil)
}

// StartNATS starts a NATS server and returns its URL.
func StartNATS(ctx context.Context) (p *role.Process, url string, err error) {
	p, err = role.Start(ctx, roleNATS, nil, &url)
	return p, url, err
}
