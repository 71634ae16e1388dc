package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// A broker on another machine is named tls://HOST:PORT in place of a socket's path. What proves who this is, and by
// whom the broker must be certified, say these.
const (
	tlsPrefix  = "tls://"
	EnvTLSCert = "CNBUS_TLS_CERT" // a PEM file
	EnvTLSKey  = "CNBUS_TLS_KEY"  // a PEM file
	EnvTLSCA   = "CNBUS_TLS_CA"   // a PEM file; the system's authorities without it
)

// IsTLS reports whether socket names a broker that is reached over TLS.
func IsTLS(socket string) bool { return strings.HasPrefix(socket, tlsPrefix) }

// OverTLS makes cfg connect over TLS if its Socket says so.
func OverTLS(cfg *client.Config) error {
	at, yes := strings.CutPrefix(cfg.Socket, tlsPrefix)
	if !yes {
		return nil
	}
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return Usagef("%s: HOST:PORT is wanted behind %s", cfg.Socket, tlsPrefix)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	cert, err := tls.LoadX509KeyPair(os.Getenv(EnvTLSCert), os.Getenv(EnvTLSKey))
	if err != nil {
		return fmt.Errorf("%s, %s: %w", EnvTLSCert, EnvTLSKey, err)
	}
	conf.Certificates = []tls.Certificate{cert}
	if name := os.Getenv(EnvTLSCA); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%s: %w", EnvTLSCA, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificate in %s", EnvTLSCA, name)
		}
	}
	cfg.Stream = func(ctx context.Context) (*tsocket.Stream, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", at) // which looks names up
		if err != nil {
			return nil, err
		}
		x, err := tlsstream.Client(ctx, tsocket.FromNetConn(c), &tlsstream.Config{TLS: conf, PeerName: host})
		if err != nil {
			_ = c.Close()
		}
		return x, err
	}
	return nil
}
