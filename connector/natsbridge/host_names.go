package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cnbus/cnbus/connector"
)

// hostNames are the names of hosts by their numbers, as far as they have been looked up. Who has a number has it for ever.
type hostNames struct {
	mu sync.Mutex
	of map[uint16]string
}

func newHostNames() *hostNames { return &hostNames{of: make(map[uint16]string)} }

// nameHosts puts the names of their hosts into messages: a host whose messages the store keeps need not be there any more.
func (s *natsStore) nameHosts(ctx context.Context, msgs []streamMsg) error {
	for i := range msgs {
		m := &msgs[i]
		if i > 0 && m.host == msgs[i-1].host {
			m.name = msgs[i-1].name
			continue
		}
		name, err := s.hostName(ctx, m.host)
		if err != nil {
			return err
		}
		m.name = name
	}
	return nil
}

// hostName is the name of the host with that number, "" if nobody has it.
func (s *natsStore) hostName(ctx context.Context, number uint16) (string, error) {
	if number == 0 || number > connector.MaxHost {
		return "", nil
	}
	s.names.mu.Lock()
	name, known := s.names.of[number]
	s.names.mu.Unlock()
	if known {
		return name, nil
	}
	r := s.do(ctx, &storeOp{kind: storeGet, bucket: bucketIDs, key: numberKey(number)})
	if errors.Is(r.err, errStoreNotFound) {
		return "", nil
	}
	if r.err != nil {
		return "", fmt.Errorf("the name of host number %d: %w", number, r.err)
	}
	v, err := parseNamed(r.value)
	if err != nil || v.host != number {
		return "", nil // somebody else's
	}
	s.names.mu.Lock()
	s.names.of[number] = v.name
	s.names.mu.Unlock()
	return v.name, nil
}
