package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc/keyring"
)

type rxKeyAdd struct {
	file, ring        string
	keytab, principal string
	hex               bool
	timeout           time.Duration
}

func newRxKeyAdd(app *cli.App, on *onHost) *cobra.Command {
	var f rxKeyAdd
	c := &cobra.Command{
		Use:   "add TYPE DESCRIPTION",
		Short: "Add a key to your keyring in the broker",
		Long: `Add a key to your keyring in the broker, and print its number. One of the same
type and description gets what is in the new one.

TYPE and DESCRIPTION are those of the kernel's keys for RxRPC:

  rxrpc    a client's key, by custom afs@CELL; see also: cnbus rx klog
  rxrpc_s  a service's key: SERVICE:2 is its DES key, of 8 bytes;
           SERVICE:2:VERSION:TYPE one of Kerberos's encryption types
  keyring  for other keys; nothing is in it at first

What is in the key comes from --file or standard input, and never from the
command line, which others can see.

With --keytab FILE the keys of a service come from a keytab of Kerberos, and
DESCRIPTION is its number alone: of each version and encryption type one is
added, so that older tickets are good until they end. Nobody but its owner may
read the file. A keytab with the keys of several principals wants --principal,
as tickets for each of them would be taken.`,
		Example: `  # the key of service 52
  echo a7838acbc783ec94 | cnbus rx key add rxrpc_s 52:2 --hex

  # for a server that names a keyring
  cnbus rx key add keyring AFSkeys

  # the keys of the cell's servers, as OpenAFS has them
  cnbus rx key add rxrpc_s 52 --keytab rxkad.keytab`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cobra.FixedCompletions([]string{string(keyring.TypeClient), string(keyring.TypeServer), string(keyring.TypeKeyring)}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), app, *on, keyring.Type(args[0]), args[1])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.file, "file", "", "`path` of a file with what is in the key (default: standard input)")
	fl.BoolVar(&f.hex, "hex", false, "it is hexadecimal")
	fl.StringVar(&f.keytab, "keytab", "", "`path` of a keytab with the keys of a service")
	fl.StringVar(&f.principal, "principal", "", "whose `name` the keys have in the keytab: afs/example.com, or with @REALM")
	fl.StringVar(&f.ring, "ring", "", "into this `keyring` in yours")
	fl.DurationVar(&f.timeout, "timeout", 0, "`time` after which the key expires (default: when its tickets do)")
	_ = c.MarkFlagFilename("file")
	_ = c.MarkFlagFilename("keytab")
	_ = c.RegisterFlagCompletionFunc("principal", cobra.NoFileCompletions)
	_ = c.RegisterFlagCompletionFunc("ring", cobra.NoFileCompletions)
	return c
}

func (f *rxKeyAdd) run(ctx context.Context, app *cli.App, on onHost, typ keyring.Type, description string) error {
	switch {
	case f.timeout < 0:
		return cli.Usagef("--timeout must not be negative")
	case typ != keyring.TypeClient && typ != keyring.TypeServer && typ != keyring.TypeKeyring:
		return cli.Usagef("%q: keys are of type rxrpc, rxrpc_s or keyring", typ)
	}
	keys, err := f.keys(app, typ, description)
	if err != nil {
		return err
	}
	defer func() {
		for _, n := range keys {
			clear(n.payload)
		}
	}()
	return withKeys(ctx, app, on, func(ctx context.Context, k *rxKeys) error {
		ring, err := k.ring(ctx, f.ring, -1)
		if err != nil {
			return err
		}
		for _, n := range keys {
			id, err := k.Add(ctx, typ, n.description, n.payload, ring, f.timeout)
			if err != nil {
				return err
			}
			if !app.JSON {
				app.Out.Printf("%d\n", int(id))
				continue
			}
			info, err := k.Describe(ctx, id)
			if err == nil {
				err = printKey(app, &info)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// A newKey is a key that is to be added.
type newKey struct {
	description string
	payload     []byte
}

// keys are those that are to be added.
func (f *rxKeyAdd) keys(app *cli.App, typ keyring.Type, description string) ([]newKey, error) {
	if f.keytab != "" {
		return f.fromKeytab(typ, description)
	}
	if f.principal != "" {
		return nil, cli.Usagef("--principal says whose keys of --keytab are wanted")
	}
	payload, err := f.payload(app, typ)
	return []newKey{{description, payload}}, err
}

// fromKeytab reads the keys of a service.
func (f *rxKeyAdd) fromKeytab(typ keyring.Type, description string) ([]newKey, error) {
	switch {
	case typ != keyring.TypeServer:
		return nil, cli.Usagef("--keytab is for keys of type %s", keyring.TypeServer)
	case f.file != "" || f.hex:
		return nil, cli.Usagef("--keytab, --file and --hex exclude each other")
	}
	service, err := strconv.ParseUint(description, 10, 16)
	if err != nil {
		return nil, cli.Usagef("%q: with --keytab DESCRIPTION is the number of a service", description)
	}
	all, err := keyring.ReadKeytab(f.keytab)
	if err != nil {
		return nil, err
	}
	defer func() {
		for i := range all {
			all[i].Key.Wipe()
		}
	}()
	var keys []newKey
	var names, mine []string // principals: all, and those whose keys are wanted
	for i := range all {
		k := &all[i]
		if !slices.Contains(names, k.Principal) {
			names = append(names, k.Principal)
		}
		if name, _, _ := strings.Cut(k.Principal, "@"); f.principal == "" || f.principal == k.Principal || f.principal == name {
			keys = append(keys, newKey{k.Description(uint16(service)), k.Key.AppendTo(nil)})
			if !slices.Contains(mine, k.Principal) {
				mine = append(mine, k.Principal)
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("%s has no keys of a type that can be used", f.keytab)
	case len(keys) == 0:
		return nil, fmt.Errorf("%s has no keys of %s, but of %s", f.keytab, f.principal, strings.Join(names, ", "))
	case len(mine) > 1:
		for i := range keys {
			clear(keys[i].payload)
		}
		return nil, cli.Usagef("%s has keys of %s: which, --principal?", f.keytab, strings.Join(mine, ", "))
	}
	return keys, nil
}

// maxKeyInput is the most that is read for a key, in bytes.
const maxKeyInput = 1 << 16

func (f *rxKeyAdd) payload(app *cli.App, typ keyring.Type) ([]byte, error) {
	in, name := app.In, "standard input"
	switch {
	case typ == keyring.TypeKeyring && (f.file != "" || f.hex):
		return nil, cli.Usagef("a keyring is empty at first")
	case typ == keyring.TypeKeyring:
		return nil, nil
	case f.file != "":
		h, err := os.Open(f.file)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		in, name = h, f.file
	case isTerminal(in):
		return nil, cli.Usagef("what is in the key? --file, or standard input")
	}
	b, err := io.ReadAll(io.LimitReader(in, maxKeyInput+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyInput {
		clear(b)
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxKeyInput)
	}
	if !f.hex {
		return b, nil
	}
	defer clear(b)
	digits := bytes.Join(bytes.Fields(b), nil)
	defer clear(digits)
	out := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(out, digits); err != nil {
		clear(out)
		return nil, cli.Usagef("%s: not hexadecimal", name) // what is wrong would show a part of it
	}
	return out, nil
}
