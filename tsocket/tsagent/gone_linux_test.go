package tsagent_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// When the broker has gone for good, sockets in use fail, and everything can be closed: nobody waits for it to come back.
func TestSocketsEndWithTheBroker(t *testing.T) {
	b := newBroker(t)
	agent, err := tsagent.New(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	c, err := tsagent.NewClient(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	lis, err := c.ListenTCP(soon(t), local4(0), nil)
	require.NoError(t, err)
	out, err := c.DialTCP(soon(t), any4(), lis.Addr())
	require.NoError(t, err)
	in, err := lis.Accept(soon(t))
	require.NoError(t, err)
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)

	var wg sync.WaitGroup
	for what, use := range map[string]func() error{
		"write": func() error { _, err := out.Writev(soon(t), make([]byte, 1<<20)); return err },
		"read":  func() error { _, err := in.Readv(soon(t), make([]byte, 1)); return err },
		"recv":  func() error { _, _, err := d.RecvFrom(soon(t), make([]byte, 1)); return err },
		"accept": func() error {
			s, err := lis.Accept(soon(t))
			if s != nil {
				_ = s.Close()
			}
			return err
		},
	} {
		wg.Go(func() {
			for {
				if err := use(); err != nil {
					assert.ErrorIs(t, err, tsagent.ErrDown, what)
					return
				}
			}
		})
	}
	b.stop()
	wg.Wait()
	_, err = d.SendTo(soon(t), []byte("x"), d.LocalAddr())
	require.Error(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, in.Close())
	require.NoError(t, d.Close())
	require.NoError(t, lis.Close())
	require.NoError(t, c.Close())
	_ = agent.Close()
}
