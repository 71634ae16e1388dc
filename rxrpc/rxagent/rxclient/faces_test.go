package rxclient_test

import (
	"testing"

	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
)

// The tests of package rxrpc, on an agent of a bus within this process.
func TestCalls(t *testing.T)   { facetest.Calls.Run(t, faces{within(t)}) }
func TestServers(t *testing.T) { facetest.Servers.Run(t, faces{within(t)}) }
func TestSockets(t *testing.T) { facetest.Sockets.Run(t, faces{within(t)}) }
func TestErrnos(t *testing.T)  { facetest.Errnos.Run(t, faces{within(t)}) }
