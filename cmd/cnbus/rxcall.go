package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/abortcode"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// rxDataMax bounds what a command holds of a request or a reply.
const rxDataMax = 64 << 20

type rxCallFlags struct {
	rxFlags
	hex     bool
	raw     bool
	op      int64
	length  bool
	timeout time.Duration
}

// rxCallLine is what `rx call --json` prints.
type rxCallLine struct {
	Peer    netip.AddrPort `json:"peer"`
	Service uint16         `json:"service"`
	Sent    int            `json:"sent"`
	Len     int            `json:"len"`
	Text    *string        `json:"text,omitempty"`
	Hex     string         `json:"hex,omitempty"`
	TimeNS  time.Duration  `json:"time_ns"`

	Error     string `json:"error,omitempty"`
	Abort     *int32 `json:"abort,omitempty"`
	AbortName string `json:"abort_name,omitempty"`
	Remote    bool   `json:"remote,omitempty"` // the peer has aborted
}

func newRxCall(app *cli.App) *cobra.Command {
	var f rxCallFlags
	c := &cobra.Command{
		Use:   "call HOST[:PORT] SERVICE [DATA]",
		Short: "Call a service and print its reply",
		Long: `Call an RxRPC service and print the reply: text as it is, anything else in
hexadecimal. DATA is the request: text, - for standard input, hexadecimal with
--hex. With --op the request begins with that number in four bytes, as the
services of AFS have it. PORT is 7000 unless given.

The call is made by the RxRPC agent of the broker, with --on by that of another
host of the site, or with --direct by this process alone. Exit code 1 says that the call failed, an abort of the server
too; 3 that no answer came in time, or that the agent went away: then nobody
knows whether the call was executed.`,
		Example: `  # an echo, see 'cnbus rx listen'
  cnbus rx call 127.0.0.1:7009 1234 hello

  # an operation of AFS: the volume location server's VL_Probe
  cnbus rx call 127.0.0.1:7003 52 --op 514

  # without a broker
  cnbus rx call 127.0.0.1:7009 1234 --hex 01020304 --direct --json`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(c *cobra.Command, args []string) error {
			f.length = c.Flags().Changed("op")
			return rxCall(c.Context(), app, f, args)
		},
	}
	fl := c.Flags()
	f.register(c)
	fl.BoolVar(&f.hex, "hex", false, "DATA is hexadecimal")
	fl.BoolVar(&f.raw, "raw", false, "print the bytes of the reply as they are")
	fl.Int64Var(&f.op, "op", 0, "the `number` of the operation, before DATA")
	fl.DurationVar(&f.timeout, "timeout", 15*time.Second, "how long the call may take; 0 means as long as the server is alive")
	return c
}

// request is what is sent.
func (f *rxCallFlags) request(app *cli.App, args []string) ([]byte, error) {
	var b []byte
	switch {
	case len(args) == 0:
	case args[0] == "-":
		var err error
		if b, err = io.ReadAll(io.LimitReader(app.In, rxDataMax+1)); err != nil {
			return nil, err
		}
	default:
		b = []byte(args[0])
	}
	if f.hex {
		var err error
		if b, err = cli.ParseHex(string(b)); err != nil {
			return nil, err
		}
	}
	if len(b) > rxDataMax {
		return nil, cli.Usagef("a request of more than %s", cli.Bytes(rxDataMax))
	}
	if !f.length {
		return b, nil
	}
	if f.op < -1<<31 || f.op >= 1<<32 {
		return nil, cli.Usagef("--op %d: a number of 32 bits is wanted", f.op)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(f.op)), b...), nil
}

// parseService reads the number of a service.
func parseService(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 0, 16)
	if err != nil || n == 0 {
		return 0, cli.Usagef("%q is no service: a number from 1 to 65535 is wanted", s)
	}
	return uint16(n), nil
}

func rxCall(ctx context.Context, app *cli.App, f rxCallFlags, args []string) error {
	if f.timeout < 0 {
		return cli.Usagef("--timeout must not be negative")
	}
	service, err := parseService(args[1])
	if err != nil {
		return err
	}
	request, err := f.request(app, args[2:])
	if err != nil {
		return err
	}
	peer, err := resolveRx(ctx, args[0])
	if err != nil {
		return err
	}
	security, err := f.security()
	if err != nil {
		return err
	}
	door, err := f.open(ctx, app, "cnbus rx call")
	if err != nil {
		return err
	}
	defer door.close()
	client, err := door.dial(peer, &rxrpc.ClientConfig{Security: security, MaxReply: rxDataMax})
	if err != nil {
		return err
	}
	defer client.Close()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	begun := time.Now()
	reply, err := client.Call(ctx, service, request)
	line := rxCallLine{Peer: peer, Service: service, Sent: len(request), Len: len(reply), TimeNS: time.Since(begun)}
	if errors.Is(err, rxclient.ErrDown) {
		err = fmt.Errorf("%w: %w", err, cli.ErrNoAnswer) // nobody knows whether it was executed
	}
	return f.print(app, line, reply, err)
}

func (f *rxCallFlags) print(app *cli.App, line rxCallLine, reply []byte, err error) error {
	var abort *rxrpc.AbortError
	if errors.As(err, &abort) && !errors.Is(err, context.DeadlineExceeded) {
		line.Abort, line.Remote = &abort.Code, abort.Remote
		line.AbortName = abortcode.String(abort.Code)
	}
	switch {
	case app.JSON:
		if err != nil {
			line.Error = err.Error()
		} else if cli.IsText(reply) {
			text := string(reply)
			line.Text = &text
		} else {
			line.Hex = hex.EncodeToString(reply)
		}
		if jerr := app.Out.JSON(line); jerr != nil {
			return jerr
		}
		return err
	case err != nil:
		return err
	case f.raw:
		_, err = app.Out.Write(reply)
		return err
	case len(reply) == 0:
		app.Notice("an empty reply")
		return nil
	}
	_, err = fmt.Fprintln(app.Out, cli.Text(reply))
	return err
}
