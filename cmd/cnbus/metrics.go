package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

// metricsServer is the HTTP server of --metrics; nil without the flag.
type metricsServer struct {
	l    net.Listener
	srv  *http.Server
	done chan struct{}
}

// listenMetrics listens at a loopback address or at unix:PATH: profiles are
// nothing for strangers.
func listenMetrics(addr string) (*metricsServer, error) {
	if addr == "" {
		return nil, nil
	}
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if isUnix {
		if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
			if c, err := net.Dial("unix", path); err == nil {
				c.Close()
				return nil, fmt.Errorf("--metrics %s: somebody serves there already", addr)
			}
			os.Remove(path) // of a run that was killed
		}
		l, err := net.Listen("unix", path)
		if err == nil {
			err = os.Chmod(path, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("--metrics: %w", err)
		}
		return &metricsServer{l: l}, nil
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, cli.Usagef("--metrics: %v", err)
	}
	if !tcp.IP.IsLoopback() {
		return nil, cli.Usagef("--metrics %s: a loopback address (127.0.0.1:PORT) or unix:PATH is wanted, as the profiles are nothing for strangers", addr)
	}
	l, err := net.ListenTCP("tcp", tcp)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	return &metricsServer{l: l}, nil
}

// serve answers until close.
func (m *metricsServer) serve(c *collector, b *broker.Broker, log *slog.Logger) {
	if m == nil {
		return
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { health(w, r, b) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	m.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	m.done = make(chan struct{})
	log.Debug("metrics", "address", m.l.Addr().String())
	go func() {
		defer close(m.done)
		if err := m.srv.Serve(m.l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics ended", "err", err)
		}
	}()
}

// health is well when the broker's loop answers.
func health(w http.ResponseWriter, r *http.Request, b *broker.Broker) {
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTime)
	defer cancel()
	if _, err := b.Stat(ctx); err != nil {
		http.Error(w, "the broker does not answer: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (m *metricsServer) close() {
	if m == nil {
		return
	}
	if m.srv == nil {
		m.l.Close()
		return
	}
	m.srv.Close()
	<-m.done
}
