package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

// tlsFlags open the broker to clients over TLS.
type tlsFlags struct {
	listen, cert, key, clientCA string

	now atomic.Pointer[tls.Config] // as of the last look at the files
}

func (f *tlsFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.listen, "listen-tls", "", "also serve clients over TLS, at this `IP:PORT`; the policy says who they are")
	fl.StringVar(&f.cert, "cert", "", "the broker's certificate for TLS, a PEM `file`")
	fl.StringVar(&f.key, "key", "", "its key, a PEM `file`")
	fl.StringVar(&f.clientCA, "client-ca", "", "authorities whose certificates clients must have, a PEM `file`")
	_ = c.RegisterFlagCompletionFunc("listen-tls", cobra.NoFileCompletions)
}

// config is nil without --listen-tls.
func (f *tlsFlags) config() (*broker.TLSConfig, error) {
	switch given := f.cert != "" && f.key != "" && f.clientCA != ""; {
	case f.listen == "" && (f.cert != "" || f.key != "" || f.clientCA != ""):
		return nil, cli.Usagef("--cert, --key and --client-ca are for --listen-tls")
	case f.listen == "":
		return nil, nil
	case !given:
		return nil, cli.Usagef("--listen-tls needs --cert, --key and --client-ca")
	}
	if err := f.load(); err != nil {
		return nil, err
	}
	return &broker.TLSConfig{Listen: f.listen, TLS: &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.now.Load(), nil },
	}}, nil
}

// load reads the files; what fails leaves everything as it was.
func (f *tlsFlags) load() error {
	if f.listen == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("--cert, --key: %w", err)
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return fmt.Errorf("--client-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("--client-ca %s: no certificate in it", f.clientCA)
	}
	f.now.Store(&tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool})
	return nil
}
