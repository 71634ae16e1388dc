package broker

import (
	"crypto/tls"
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// TLSConfig opens the broker to clients on other machines. Who they are says the policy, by their certificates
// (CertRule).
type TLSConfig struct {
	// Listen is an IP address and a port: "192.0.2.1:7400", "[::]:7400". Port 0 takes a free one, which
	// Broker.TLSAddr tells.
	Listen string

	// TLS has the broker's certificate, and ClientCAs, whose certificates count. Every client must show one,
	// whatever ClientAuth says; at least TLS 1.2 is spoken. GetConfigForClient may give another for each connection, as
	// for a certificate that is renewed.
	TLS *tls.Config
}

// server returns the configuration with what it must have.
func (c *TLSConfig) server() (*tls.Config, error) {
	if c.TLS == nil || c.TLS.ClientCAs == nil && c.TLS.GetConfigForClient == nil {
		return nil, fmt.Errorf("broker: TLS without authorities for the clients' certificates: %w", connector.ErrInvalid)
	}
	t := strict(c.TLS)
	if choose := t.GetConfigForClient; choose != nil {
		t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := choose(hello)
			if err != nil {
				return nil, err
			}
			if other == nil {
				other = c.TLS
			}
			if other.ClientCAs == nil { // crypto/tls would take those of the system
				return nil, fmt.Errorf("broker: TLS without authorities for the clients' certificates: %w", connector.ErrInvalid)
			}
			return strict(other), nil
		}
	}
	return t, nil
}

func strict(c *tls.Config) *tls.Config {
	t := c.Clone()
	t.ClientAuth = tls.RequireAndVerifyClientCert
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	return t
}

// listenTLS opens the port.
func listenTLS(c *TLSConfig) (*tsocket.Listener, *tls.Config, error) {
	conf, err := c.server()
	if err != nil {
		return nil, nil, err
	}
	addr, err := tsocket.ParseHostPort("ip", c.Listen, 0)
	if err != nil || c.Listen == "" {
		return nil, nil, fmt.Errorf("broker: TLS address %q: an IP address and a port are wanted: %w", c.Listen, connector.ErrInvalid)
	}
	ln, err := tsocket.ListenTCP(addr, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("broker: TLS: %w", err)
	}
	return ln, conf, nil
}
