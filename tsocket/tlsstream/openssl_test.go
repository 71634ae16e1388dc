package tlsstream_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// The other side may be OpenSSL, whose commands also do what crypto/tls never
// would: ask for a renegotiation, and change keys.

// openssl starts a command of the program, which is killed at the end of the test.
func openssl(t *testing.T, arg ...string) (in io.WriteCloser, out *bufio.Reader) {
	path, err := exec.LookPath("openssl")
	if err != nil {
		testenv.Skip(t, "openssl is not installed")
	}
	cmd := exec.CommandContext(soon(t), path, arg...)
	in, err = cmd.StdinPipe()
	require.NoError(t, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return in, bufio.NewReader(pipe)
}

// until reads lines until one has text.
func until(t *testing.T, out *bufio.Reader, text string) {
	var all strings.Builder
	for {
		line, err := out.ReadString('\n')
		all.WriteString(line)
		require.NoError(t, err, all.String())
		if strings.Contains(line, text) {
			return
		}
	}
}

// pemFiles writes a certificate and its key.
func pemFiles(t *testing.T, c tls.Certificate) (cert, key string) {
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	der := must(x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey)))
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))
	return cert, key
}

func shortPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "tls")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestOpenSSLServer(t *testing.T) {
	for _, test := range []struct {
		name, version, command string
		errno                  syscall.Errno // of reading after the command
	}{
		{"1.2", "-tls1_2", "", 0},
		{"1.3", "-tls1_3", "", 0},
		{"1.2, renegotiation", "-tls1_2", "r\n", syscall.EIO},
		{"1.3, another key", "-tls1_3", "k\n", 0},
		{"1.3, another key for both", "-tls1_3", "K\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := shortPath(t)
			cert, key := pemFiles(t, serverCert)
			in, out := openssl(t, "s_server", "-unix", path, "-cert", cert, "-key", key, test.version)
			until(t, out, "ACCEPT")
			s, err := tsocket.DialUnix(soon(t), tsocket.Addr{}, must(tsocket.UnixAddr(path)))
			require.NoError(t, err)
			closeLater(t, s)
			a, err := tlsstream.Client(soon(t), s, clientConf)
			require.NoError(t, err)
			closeLater(t, a)
			until(t, out, "CIPHER is")
			_, err = io.WriteString(in, "from there\n")
			require.NoError(t, err)
			b := make([]byte, 11)
			_, err = a.Readv(soon(t), b)
			require.NoError(t, err)
			require.Equal(t, "from there\n", string(b))
			_, err = a.Writev(soon(t), []byte("from "), []byte("here\n"))
			require.NoError(t, err)
			until(t, out, "from here")

			if test.command != "" { // which is all that the program reads at once
				_, err = io.WriteString(in, test.command)
				require.NoError(t, err)
				for n := 0; n == 0; runtime.Gosched() { // until it has come here
					n, err = s.PendingBytes()
					require.NoError(t, err)
				}
			}
			_, err = io.WriteString(in, "then\n")
			require.NoError(t, err)
			_, err = a.Readv(soon(t), b[:5])
			require.Equal(t, test.errno, tsocket.Errno(err), err)
			if err != nil {
				require.ErrorContains(t, err, "renegotiation")
				_, err = a.Writev(soon(t), []byte("x"))
				require.Equal(t, test.errno, tsocket.Errno(err), "sticky")
				return
			}
			require.Equal(t, "then\n", string(b[:5]))
			_, err = a.Writev(soon(t), []byte("and back\n"))
			require.NoError(t, err)
			until(t, out, "and back")
			_, err = io.WriteString(in, "Q\n") // it closes the socket and says nothing
			require.NoError(t, err)
			_, err = a.Readv(soon(t), b)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.NotErrorIs(t, err, io.EOF)
		})
	}
}

func TestOpenSSLClient(t *testing.T) {
	for _, test := range []struct {
		name, version, command string
		errno                  syscall.Errno
	}{
		{"1.2", "-tls1_2", "", 0},
		{"1.3", "-tls1_3", "", 0},
		{"1.2, renegotiation", "-tls1_2", "R\n", syscall.EIO},
		{"1.3, another key", "-tls1_3", "k\n", 0},
		{"1.3, another key for both", "-tls1_3", "K\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := shortPath(t)
			l, err := tsocket.ListenUnix(must(tsocket.UnixAddr(path)), nil)
			require.NoError(t, err)
			closeLater(t, l)
			in, out := openssl(t, "s_client", "-unix", path, "-servername", "server.test", test.version)
			s, err := l.Accept(soon(t))
			require.NoError(t, err)
			closeLater(t, s)
			b, err := tlsstream.Server(soon(t), s, serverConf)
			require.NoError(t, err)
			closeLater(t, b)
			_, err = io.WriteString(in, "hello\n")
			require.NoError(t, err)
			got := make([]byte, 6)
			_, err = b.Readv(soon(t), got)
			require.NoError(t, err)
			require.Equal(t, "hello\n", string(got))
			_, err = b.Writev(soon(t), []byte("welcome\n"))
			require.NoError(t, err)
			until(t, out, "welcome")

			if test.command != "" {
				_, err = io.WriteString(in, test.command)
				require.NoError(t, err)
				until(t, out, map[string]string{"R\n": "RENEGOTIATING", "k\n": "KEYUPDATE", "K\n": "KEYUPDATE"}[test.command])
			}
			if test.errno == 0 {
				_, err = io.WriteString(in, "again\n")
				require.NoError(t, err)
			}
			_, err = b.Readv(soon(t), got)
			require.Equal(t, test.errno, tsocket.Errno(err), err)
			if err != nil {
				return
			}
			require.Equal(t, "again\n", string(got))
			_, err = io.WriteString(in, "Q\n") // it says close_notify
			require.NoError(t, err)
			_, err = b.Readv(soon(t), got)
			require.ErrorIs(t, err, io.EOF)
		})
	}
}
