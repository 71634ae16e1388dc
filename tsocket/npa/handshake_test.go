package npa_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

var sample = npa.Request{
	Transport:  2, // NCACN_NP
	ClientName: "klient.müller.example", ClientAddr: "192.0.2.7", ClientPort: 50123,
	ServerName: "server", ServerAddr: "2001:db8::1", ServerPort: 445,
	SessionInfo: []byte("not read by this package"),
}

// The server learns who the client is, and the client how the pipe goes on.
func TestConnect(t *testing.T) {
	dir := pipeDir(t)
	l := listen(t, dir, "lsarpc")
	for _, mode := range []npa.FileType{npa.ByteMode, npa.MessageMode} {
		connecting := npa.ConnectSend(soon(t), dir, "LsaRPC", &sample)
		s, err := l.Accept(soon(t))
		require.NoError(t, err)
		in, err := npa.AcceptSend(soon(t), s, &npa.AcceptConfig{FileType: mode}).Wait(soon(t))
		require.NoError(t, err)
		out, err := connecting.Wait(soon(t))
		require.NoError(t, err)
		closeLater(t, in.Stream, out.Stream)
		assert.Equal(t, &sample, in.Request)
		state := map[npa.FileType]uint16{npa.ByteMode: 0x00FF, npa.MessageMode: 0x05FF}[mode]
		assert.Equal(t, &npa.Reply{FileType: mode, DeviceState: state, AllocationSize: 4096}, out.Reply)
		_, err = out.Stream.Writev(soon(t), []byte("bind"))
		require.NoError(t, err)
		got := make([]byte, 4)
		_, err = in.Stream.Readv(soon(t), got)
		require.NoError(t, err)
		assert.Equal(t, "bind", string(got))
	}
}

func TestConnectErrors(t *testing.T) {
	dir := pipeDir(t)
	for name, want := range map[string]syscall.Errno{
		"": syscall.EINVAL, ".": syscall.EINVAL, "..": syscall.EINVAL, "../np/x": syscall.EINVAL, "a\x00b": syscall.EINVAL,
		"nobody": syscall.ENOENT, strings.Repeat("long", 30): syscall.ENAMETOOLONG,
	} {
		_, _, err := npa.Connect(soon(t), dir, name, &npa.Request{})
		require.Equal(t, want, tsocket.Errno(err), "%q: %v", name, err)
	}
	c, _ := memory(t)
	for _, bad := range []npa.Request{{ClientName: "a\x00b"}, {ServerAddr: "\xff"}} {
		_, _, err := npa.ConnectStream(soon(t), c, &bad)
		require.Equal(t, syscall.EINVAL, tsocket.Errno(err), err)
	}
}

// What the client makes of the server's answers.
func TestReplies(t *testing.T) {
	good := npa.Reply{FileType: npa.MessageMode, DeviceState: 0x05FF, AllocationSize: 4096}
	bytesOf := func(edit func(*npa.Reply), change func([]byte)) []byte {
		r := good
		if edit != nil {
			edit(&r)
		}
		b, err := r.MarshalBinary()
		require.NoError(t, err)
		if change != nil {
			change(b)
		}
		return b
	}
	for name, test := range map[string]struct {
		answer []byte
		errno  syscall.Errno
	}{
		"good":          {bytesOf(nil, nil), 0},
		"refused":       {bytesOf(func(r *npa.Reply) { r.Status = npa.StatusAccessDenied }, nil), syscall.EACCES},
		"level":         {bytesOf(nil, func(b []byte) { b[8] = 7 }), syscall.EIO},
		"union":         {bytesOf(nil, func(b []byte) { b[12] = 7 }), syscall.EIO},
		"magic":         {bytesOf(nil, func(b []byte) { b[4] = 'n' }), syscall.EIO},
		"file type":     {bytesOf(func(r *npa.Reply) { r.FileType = 3 }, nil), syscall.EINVAL},
		"long":          {bytesOf(nil, func(b []byte) { b[3]++ }), syscall.EMSGSIZE},
		"short":         {bytesOf(nil, func(b []byte) { b[3]-- }), syscall.EMSGSIZE},
		"huge":          {bytesOf(nil, func(b []byte) { b[0] = 0xff }), syscall.EMSGSIZE},
		"only a length": {[]byte{0, 0, 0, 0, 'N', 'P', 'A', 'M'}, syscall.EMSGSIZE},
		"end":           {bytesOf(nil, nil)[:20], syscall.EPIPE},
		"nothing":       {nil, syscall.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			c, wire := memory(t)
			if test.answer != nil {
				_, err := wire.Writev(soon(t), test.answer)
				require.NoError(t, err)
			}
			require.NoError(t, wire.CloseWrite(soon(t)))
			s, _, err := npa.ConnectStream(soon(t), c, &sample)
			if test.errno == 0 {
				require.NoError(t, err)
				require.NoError(t, s.Close())
				return
			}
			require.Error(t, err)
			require.Equal(t, test.errno, tsocket.Errno(err), err)
			if test.errno == syscall.EACCES {
				require.ErrorIs(t, err, npa.StatusAccessDenied)
			}
		})
	}
}

// What the server makes of what clients say, and what it tells them.
func TestRequests(t *testing.T) {
	bytesOf := func(change func([]byte)) []byte {
		b, err := sample.MarshalBinary()
		require.NoError(t, err)
		if change != nil {
			change(b)
		}
		return b
	}
	refuse := func(err error) *npa.AcceptConfig {
		return &npa.AcceptConfig{Check: func(*npa.Request) error { return err }}
	}
	for name, test := range map[string]struct {
		said   []byte
		config *npa.AcceptConfig
		errno  syscall.Errno
		status npa.Status // of the reply, if there is one
		reply  bool
	}{
		"good":              {bytesOf(nil), nil, 0, 0, true},
		"level":             {bytesOf(func(b []byte) { b[8], b[12] = 7, 7 }), nil, syscall.EIO, npa.StatusInvalidLevel, true},
		"magic":             {bytesOf(func(b []byte) { b[7] = 'X' }), nil, syscall.EPROTONOSUPPORT, 0, false},
		"http":              {[]byte("GET / HTTP/1.1\r\n\r\n"), nil, syscall.EPROTONOSUPPORT, 0, false},
		"too long":          {bytesOf(func(b []byte) { b[0] = 1 }), nil, syscall.EMSGSIZE, 0, false},
		"over our limit":    {bytesOf(nil), &npa.AcceptConfig{MaxRequest: 50}, syscall.EMSGSIZE, 0, false},
		"short":             {[]byte{0, 0, 0, 3, 'N', 'P', 'A', 'M'}, nil, syscall.EMSGSIZE, 0, false},
		"string too long":   {bytesOf(func(b []byte) { b[48+8] = 0xff }), nil, syscall.EIO, 0, false},
		"refused":           {bytesOf(nil), refuse(errors.New("no")), syscall.EACCES, npa.StatusAccessDenied, true},
		"refused, why":      {bytesOf(nil), refuse(npa.Status(0xC000006D)), syscall.EACCES, 0xC000006D, true},
		"no such mode":      {nil, &npa.AcceptConfig{FileType: 3}, syscall.EINVAL, 0, false},
		"end in the middle": {bytesOf(nil)[:40], nil, syscall.EPIPE, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			wire, s := memory(t)
			if test.said != nil {
				_, err := wire.Writev(soon(t), test.said)
				require.NoError(t, err)
			}
			require.NoError(t, wire.CloseWrite(soon(t)))
			pipe, _, err := npa.Accept(soon(t), s, test.config)
			require.Equal(t, test.errno, tsocket.Errno(err), err)
			if err == nil {
				closeLater(t, pipe)
			}
			if !test.reply {
				return
			}
			b := make([]byte, 36)
			_, err = wire.Readv(soon(t), b)
			require.NoError(t, err)
			var r npa.Reply
			require.NoError(t, r.UnmarshalBinary(b))
			assert.Equal(t, test.status, r.Status)
		})
	}
}

// A handshake that is stopped stops.
func TestHandshakeCancelled(t *testing.T) {
	c, s := memory(t)
	accepting := npa.AcceptSend(background, s, nil)
	_, err := c.Writev(soon(t), []byte{0, 0, 1, 0, 'N', 'P', 'A', 'M', 8})
	require.NoError(t, err)
	require.True(t, accepting.Cancel())
	_, err = accepting.Wait(soon(t))
	require.Equal(t, syscall.ECANCELED, tsocket.Errno(err), err)
}
