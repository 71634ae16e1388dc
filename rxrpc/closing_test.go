package rxrpc_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// quota counts the calls that there are.
type quota struct {
	taken chan struct{}
	given func() // the first time

	mu sync.Mutex
	n  int
}

func (q *quota) Take() error {
	q.mu.Lock()
	q.n++
	q.mu.Unlock()
	select {
	case q.taken <- struct{}{}:
	default:
	}
	return nil
}

func (q *quota) Give() {
	q.mu.Lock()
	q.n--
	given := q.given
	q.given = nil
	q.mu.Unlock()
	if given != nil {
		given()
	}
}

// TestCallWhileSocketIsClosed: one that comes when Close has released all others, and before the owner hears of it, is not counted for ever.
func TestCallWhileSocketIsClosed(t *testing.T) {
	for name, auto := range map[string]bool{"accept": false, "auto": true} {
		t.Run(name, func(t *testing.T) {
			q := &quota{taken: make(chan struct{}, 1)}
			server := listening(t, 52, &rxrpc.SocketConfig{Calls: q, AutoAccept: auto})
			client := connected(t, server, &rxrpc.SocketConfig{BusyEnds: true})
			sends(t, client, rxrpc.Msg{Control: tag(1), Data: []byte("request")})
			select {
			case <-q.taken:
			case <-soon(t).Done():
				require.Fail(t, "the first call does not come")
			}
			receives(t, server, rxrpc.MsgPeek) // Take is behind it wholly
			q.mu.Lock()
			q.given = func() {
				sends(t, client, rxrpc.Msg{Control: tag(2), Data: []byte("request")})
				select {
				case <-q.taken:
				case <-time.After(200 * time.Millisecond): // enough for it to come
				}
			}
			q.mu.Unlock()
			require.NoError(t, server.Close())
			q.mu.Lock()
			defer q.mu.Unlock()
			assert.Nil(t, q.given)
			assert.Zero(t, q.n)
		})
	}
}
