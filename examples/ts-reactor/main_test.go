package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestReactor(t *testing.T) {
	l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- serve(ctx, l) }()

	const clients = 5
	var all []*tsocket.Stream
	for range clients {
		s, err := tsocket.DialTCP(t.Context(), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		defer s.Close()
		all = append(all, s)
		// Who has got an answer has been accepted; there is somebody else from the second one on.
		for i, other := range all[:len(all)-1] {
			if i == 0 {
				say(t, s, "here I am\n")
			}
			hear(t, other, "here I am\n")
		}
	}
	for i, s := range all {
		say(t, s, "hello\n")
		for j, other := range all {
			if i != j {
				hear(t, other, "hello\n")
			}
		}
	}
	cancel()
	require.NoError(t, <-done)
	_, err = all[0].ReadSome(context.Background(), make([]byte, 1))
	assert.ErrorIs(t, err, tsocket.ErrEOF, "the chat has closed the connection")
}

func say(t *testing.T, s *tsocket.Stream, text string) {
	_, err := s.Writev(t.Context(), []byte(text))
	require.NoError(t, err)
}

func hear(t *testing.T, s *tsocket.Stream, text string) {
	b := make([]byte, len(text))
	_, err := s.Readv(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}
