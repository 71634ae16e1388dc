package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/abortcode"
)

type rxListenFlags struct {
	rxFlags
	keyring string
	exec    string
	reply   string
	replies bool
	abort   int32
	aborts  bool
	count   int64
}

// rxListenLine is what `rx listen --json` prints for each call.
type rxListenLine struct {
	Event   string         `json:"event"` // call
	Time    time.Time      `json:"time"`
	Peer    netip.AddrPort `json:"peer"`
	Service uint16         `json:"service"`
	Client  string         `json:"client,omitempty"` // that the key has proved
	Len     int            `json:"len"`
	Text    *string        `json:"text,omitempty"`
	Hex     string         `json:"hex,omitempty"`
	Replied int            `json:"replied"`
	Error   string         `json:"error,omitempty"`
	Abort   *int32         `json:"abort,omitempty"`
	TimeNS  time.Duration  `json:"time_ns"`
}

func newRxListen(app *cli.App) *cobra.Command {
	var f rxListenFlags
	c := &cobra.Command{
		Use:   "listen [HOST:]PORT SERVICE...",
		Short: "Serve RxRPC services: echo, or run a command for each call",
		Long: `Serve RxRPC services at a port, print each call, and reply with its request, with
--reply TEXT, or with what the command of --exec prints.

With --exec CMD the shell runs CMD for each call, its request on stdin; what it
prints is the reply, and an exit code other than 0 the code that the call is
aborted with. RX_PEER and RX_SERVICE are in its environment.

The RxRPC agent of the broker has the port, which several programs may share if
they serve different services; with --direct this process has it alone, and with
--on the port is one of another host. When the broker comes back after a restart
the services do, too.

The keys of --keyring with --direct are in a keyring of the kernel that the
session or the user has (keyctl newring mykeys @s): keys of type user that are
called rxrpc_s:SERVICE:2, or rxrpc_s:SERVICE:2:VERSION:TYPE.`,
		Example: `  # an echo
  cnbus rx listen 127.0.0.1:7009 1234

  # a service in one line of shell
  cnbus rx listen 127.0.0.1:7010 1234 --exec 'tr a-z A-Z'

  # only for those who have a ticket, and encrypted: the key is in a keyring
  cnbus rx key add keyring mykeys
  echo a7838acbc783ec94 | cnbus rx key add rxrpc_s 1234:2 --hex --ring mykeys
  cnbus rx listen 127.0.0.1:7012 1234 --keyring mykeys --level crypt

  # whatever is asked, the answer is an abort
  cnbus rx listen 7011 52 --abort -455 --json`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			f.replies, f.aborts = c.Flags().Changed("reply"), c.Flags().Changed("abort")
			return rxListen(c.Context(), app, f, args)
		},
	}
	fl := c.Flags()
	f.how(c, "clear", "with --keyring: `how` calls must be secured at least: clear, auth or crypt")
	fl.StringVar(&f.keyring, "keyring", "", "take only calls that are secured, by the service's keys in the keyring of this `name`: yours in the broker, with --direct the kernel's")
	fl.StringVar(&f.exec, "exec", "", "run this `command` for every call; its output is the reply")
	fl.StringVar(&f.reply, "reply", "", "reply with this `text`")
	fl.Int32Var(&f.abort, "abort", 0, "abort every call with this `code`")
	fl.Int64VarP(&f.count, "count", "n", 0, "end after `n` calls")
	c.MarkFlagsMutuallyExclusive("reply", "exec", "abort")
	for _, flag := range []string{"keyring", "exec", "reply", "abort"} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return c
}

// parseListen reads PORT or HOST:PORT.
func parseListen(ctx context.Context, s string) (netip.AddrPort, error) {
	host, port, err := splitListen(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr := netip.IPv4Unspecified()
	if host != "" {
		if addr, err = resolveHost(ctx, host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(addr, port), nil
}

// splitListen takes PORT or HOST:PORT apart; without a host it is "".
func splitListen(s string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		host, p = "", s
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, cli.Usagef("%q is no port: PORT or HOST:PORT is wanted", s)
	}
	return host, uint16(n), nil
}

func rxListen(ctx context.Context, app *cli.App, f rxListenFlags, args []string) error {
	if f.count < 0 {
		return cli.Usagef("--count must not be negative")
	}
	local, err := parseListen(ctx, args[0])
	if err != nil {
		return err
	}
	var services []uint16
	for _, arg := range args[1:] {
		service, err := parseService(arg)
		if err != nil {
			return err
		}
		services = append(services, service)
	}
	var security []rxrpc.ServerSecurity
	if f.keyring != "" {
		if security, err = f.serverSecurity(f.keyring); err != nil {
			return err
		}
	}
	door, err := f.open(ctx, app, "cnbus rx listen")
	if err != nil {
		return err
	}
	defer door.close()
	e, err := door.listen(local, app.Log(slog.LevelWarn))
	if err != nil {
		return err
	}
	defer e.Close()
	ctx, done := context.WithCancelCause(ctx)
	defer done(nil)
	s := rxrpc.NewServer(e, &rxrpc.ServerConfig{Security: security, Secured: f.keyring != ""})
	h := &rxListener{rxListenFlags: &f, app: app, done: done}
	for _, service := range services {
		if err := s.Handle(service, h); err != nil {
			return err
		}
	}
	app.Notice("serving service %s at %v", strings.Join(args[1:], ", "), e.LocalAddr())
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(s.Shutdown(drain), e.Wait(drain))
	switch cause := context.Cause(ctx); {
	case cli.Interrupted(ctx):
		return ctx.Err()
	case !errors.Is(cause, errEnough):
		return cause
	}
	return err
}

// errEnough is why a server of --count ends.
var errEnough = errors.New("as many calls as were wanted")

// rxListener serves calls.
type rxListener struct {
	*rxListenFlags
	app  *cli.App
	done context.CancelCauseFunc
	seen atomic.Int64
}

// ServeRx implements rxrpc.Handler.
func (h *rxListener) ServeRx(ctx context.Context, call *rxrpc.ServerCall) error {
	n := h.seen.Add(1)
	if h.count > 0 && n > h.count {
		return rxrpc.Abort(rxrpc.Restarting)
	}
	line := rxListenLine{Event: "call", Time: time.Now(), Peer: call.Peer(), Service: call.Service()}
	request, err := io.ReadAll(io.LimitReader(call, rxDataMax+1))
	var reply []byte
	switch {
	case err == nil && len(request) > rxDataMax:
		err = fmt.Errorf("a request of more than %s: %w", cli.Bytes(rxDataMax), rxrpc.Abort(rxrpc.UserAbort))
	case err != nil:
	case h.aborts:
		err = rxrpc.Abort(h.abort)
	case h.exec != "":
		reply, err = h.run(ctx, call, request)
	case h.replies:
		reply = []byte(h.reply)
	default:
		reply = request
	}
	if err == nil {
		if err = call.SetLength(int64(len(reply))); err == nil {
			line.Replied, err = call.Write(reply)
		}
	}
	line.TimeNS = time.Since(line.Time)
	line.Client = clientOf(call)
	perr := h.print(line, request, err)
	if perr != nil || n == h.count {
		h.done(errors.Join(perr, errEnough))
	}
	return err
}

// clientOf is who calls, "" if nobody has proved it.
func clientOf(call *rxrpc.ServerCall) string {
	if s := call.Security(); s.Authenticated && s.Peer != nil {
		return fmt.Sprint(s.Peer)
	}
	return ""
}

func (h *rxListener) print(line rxListenLine, request []byte, err error) error {
	line.Len = len(request)
	var abort *rxrpc.AbortError
	if errors.As(err, &abort) {
		line.Abort = &abort.Code
	}
	if h.app.JSON {
		if err != nil {
			line.Error = err.Error()
		}
		if cli.IsText(request) {
			text := string(request)
			line.Text = &text
		} else {
			line.Hex = hex.EncodeToString(request)
		}
		return h.app.Out.JSON(line)
	}
	s := h.app.Out.Style
	result := fmt.Sprintf("%d bytes in %s", line.Replied, cli.Duration(line.TimeNS))
	switch {
	case abort != nil:
		result = s.Red("aborted: " + abortcode.String(abort.Code))
	case err != nil:
		result = s.Red(err.Error())
	}
	who := line.Peer.String()
	if line.Client != "" {
		who += " " + line.Client
	}
	_, err = fmt.Fprintf(h.app.Out, "%s  %s  %s  %s → %s\n", s.Dim(cli.Clock(line.Time)), s.Cyan("service "+strconv.Itoa(int(line.Service))), s.Dim(who), cli.Data(request, 120), result)
	return err
}

// run gives a request to the shell command and returns what it prints.
func (h *rxListener) run(ctx context.Context, call *rxrpc.ServerCall, request []byte) ([]byte, error) {
	c := exec.CommandContext(ctx, "/bin/sh", "-c", h.exec)
	c.Stdin = bytes.NewReader(request)
	c.Stderr = h.app.Err
	c.Env = append(os.Environ(), "RX_PEER="+call.Peer().String(), fmt.Sprint("RX_SERVICE=", call.Service()))
	c.WaitDelay = time.Second
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := int32(exit.ExitCode())
		if code < 0 { // a signal
			code = rxrpc.UserAbort
		}
		return nil, fmt.Errorf("command: %w: %w", err, rxrpc.Abort(code))
	}
	return out, err
}
