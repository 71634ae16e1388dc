package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
)

// rxKeyLine is what `rx key --json` prints for each key.
type rxKeyLine struct {
	ID          keyring.ID   `json:"key_id"`
	Type        keyring.Type `json:"type"`
	Description string       `json:"description"`
	UID         uint32       `json:"uid"`
	GID         uint32       `json:"gid"`
	Perm        string       `json:"perm"`
	Expires     *time.Time   `json:"expires,omitempty"`
	State       string       `json:"state"`
	Size        int          `json:"size"`
	Links       int          `json:"links"`
}

func newRxKey(app *cli.App) *cobra.Command {
	var on onHost
	c := &cobra.Command{
		Use:   "key",
		Short: "Manage your keys in the broker",
		Long: `Manage the keys that the sockets of the broker's RxRPC agent use: one keyring
for each user, as the kernel has them. What goes in is never shown again, to
nobody. Other users do not see yours; root sees everybody's, not what is in them.

A KEY is a number or a description.`,
		Example: `  # which keys are there?
  cnbus rx key ls`,
		Args: cobra.NoArgs,
	}
	on.register(c)
	c.AddCommand(newRxKeyAdd(app, &on), newRxKeyLs(app, &on), newRxKeyShow(app, &on), newRxKeyRevoke(app, &on), newRxKeyUnlink(app, &on))
	return c
}

// rxKeys are the user's keys on a bus.
type rxKeys struct {
	*rxkeys.Client
	bus *client.Bus
}

// keyWait is how long the agent may take.
const keyWait = 10 * time.Second

// dialKeys connects with the broker; close ends that.
func dialKeys(ctx context.Context, app *cli.App, on onHost, name string) (k *rxKeys, closeAll func(), err error) {
	bus, err := app.Dial(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		bus.Close()
		return nil, nil, err
	}
	closeAll = func() { ep.Close(); bus.Close() }
	host, err := on.number(ctx, bus)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return &rxKeys{&rxkeys.Client{Endpoint: ep, Host: host}, bus}, closeAll, nil
}

// withKeys runs f with the user's keys.
func withKeys(ctx context.Context, app *cli.App, on onHost, f func(context.Context, *rxKeys) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, keyWait, connector.ErrTimeout)
	defer cancel()
	k, end, err := dialKeys(ctx, app, on, "cnbus rx key")
	if err != nil {
		return err
	}
	defer end()
	return on.missing(f(ctx, k), k.Host, "RxRPC")
}

// find returns the key that a user has named, in a keyring.
func (k *rxKeys) find(ctx context.Context, name string, ring keyring.ID) (keyring.ID, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil && n > 0 {
		return keyring.ID(n), nil
	}
	all, err := k.List(ctx, ring)
	if err != nil {
		return 0, err
	}
	var found keyring.ID
	for _, i := range all {
		if i.Description != name {
			continue
		}
		if found != 0 {
			return 0, cli.Usagef("several keys are called %q: name it by number", name)
		}
		found = i.ID
	}
	if found == 0 {
		return 0, fmt.Errorf("no key %q: `cnbus rx key ls` tells which there are", name)
	}
	return found, nil
}

// ring returns the keyring that flags name: --uid's, or a keyring in one's own.
func (k *rxKeys) ring(ctx context.Context, name string, uid int64) (keyring.ID, error) {
	own := rxkeys.OwnRing
	if uid >= 0 {
		var err error
		if own, err = k.Keyring(ctx, uint32(uid)); err != nil {
			return 0, err
		}
	}
	if name == "" {
		return own, nil
	}
	return k.find(ctx, name, own)
}

// uidFlag adds --uid.
func uidFlag(c *cobra.Command, uid *int64) {
	c.Flags().Int64Var(uid, "uid", -1, "the keyring of another `user`, by number: for root")
	_ = c.RegisterFlagCompletionFunc("uid", cobra.NoFileCompletions)
}

func checkUID(uid int64) error {
	if uid < -1 || uid >= 1<<32-1 {
		return cli.Usagef("--uid %d: no user has that number", uid)
	}
	return nil
}

func keyLine(i *keyring.Info) rxKeyLine {
	l := rxKeyLine{
		ID: i.ID, Type: i.Type, Description: i.Description, UID: i.UID, GID: i.GID, Perm: fmt.Sprintf("%08x", uint32(i.Perm)), State: "good",
		Size: i.Size, Links: i.Links,
	}
	if !i.Expires.IsZero() {
		at := i.Expires.UTC()
		l.Expires = &at
		if !at.After(time.Now()) {
			l.State = "expired"
		}
	}
	if i.Revoked {
		l.State = "revoked"
	}
	return l
}

// expires says when a key ends, for people.
func (l *rxKeyLine) expires() string {
	switch {
	case l.State != "good":
		return l.State
	case l.Expires == nil:
		return "never"
	}
	return l.Expires.Local().Format(time.DateTime)
}

// size says how large it is, for people.
func (l *rxKeyLine) size() string {
	if l.Type == keyring.TypeKeyring {
		return strconv.Itoa(l.Size) + " keys"
	}
	return strconv.Itoa(l.Size) + " B"
}

func newRxKeyLs(app *cli.App, on *onHost) *cobra.Command {
	uid := int64(-1)
	c := &cobra.Command{
		Use:   "ls [KEYRING]",
		Short: "List your keys in the broker",
		Long:  `List the keys of your keyring in the broker, or of a keyring in that.`,
		Example: `  # which keys are there?
  cnbus rx key ls

  # for a script
  cnbus rx key ls --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkUID(uid); err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return withKeys(c.Context(), app, *on, func(ctx context.Context, k *rxKeys) error {
				ring, err := k.ring(ctx, name, uid)
				if err != nil {
					return err
				}
				all, err := k.List(ctx, ring)
				if err != nil {
					return err
				}
				return printKeys(app, all)
			})
		},
	}
	uidFlag(c, &uid)
	return c
}

func printKeys(app *cli.App, all []keyring.Info) error {
	if app.JSON {
		for i := range all {
			if err := app.Out.JSON(keyLine(&all[i])); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		app.Notice("no keys")
		return nil
	}
	t := cli.NewTable(">KEY", "TYPE", "DESCRIPTION", "EXPIRES", ">SIZE", "USER")
	for i := range all {
		l := keyLine(&all[i])
		t.Row(int(l.ID), l.Type, l.Description, l.expires(), l.size(), cli.User(l.UID))
	}
	return t.Print(app.Out, app.Out.Style)
}

func newRxKeyShow(app *cli.App, on *onHost) *cobra.Command {
	uid := int64(-1)
	c := &cobra.Command{
		Use:   "show KEY",
		Short: "Describe a key, without what is in it",
		Long:  `Describe a key: its type, owner, permissions and end. What is in it is not shown.`,
		Example: `  # how long does it last?
  cnbus rx key show afs@example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkUID(uid); err != nil {
				return err
			}
			return withKeys(c.Context(), app, *on, func(ctx context.Context, k *rxKeys) error {
				ring, err := k.ring(ctx, "", uid)
				if err != nil {
					return err
				}
				id, err := k.find(ctx, args[0], ring)
				if err != nil {
					return err
				}
				info, err := k.Describe(ctx, id)
				if err != nil {
					return err
				}
				return printKey(app, &info)
			})
		},
	}
	uidFlag(c, &uid)
	return c
}

func printKey(app *cli.App, i *keyring.Info) error {
	l := keyLine(i)
	if app.JSON {
		return app.Out.JSON(l)
	}
	t := cli.NewTable("KEY", strconv.Itoa(int(l.ID)))
	t.Row("TYPE", l.Type)
	t.Row("DESCRIPTION", l.Description)
	t.Row("USER", cli.User(l.UID))
	t.Row("PERMISSIONS", l.Perm)
	t.Row("EXPIRES", l.expires())
	t.Row("SIZE", l.size())
	t.Row("KEYRINGS", l.Links)
	return t.Print(app.Out, app.Out.Style)
}

func newRxKeyRevoke(app *cli.App, on *onHost) *cobra.Command {
	uid := int64(-1)
	c := &cobra.Command{
		Use:   "revoke KEY",
		Short: "Make a key of no use, at once",
		Long: `Make a key of no use, at once. Calls that send with a client's key end, and no
connection begins with it any more; with a service's key no ticket is opened any
more. The key stays for some minutes, to say so.`,
		Example: `  # somebody else may have it
  cnbus rx key revoke afs@example.com`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkUID(uid); err != nil {
				return err
			}
			return withKeys(c.Context(), app, *on, func(ctx context.Context, k *rxKeys) error {
				ring, err := k.ring(ctx, "", uid)
				if err != nil {
					return err
				}
				id, err := k.find(ctx, args[0], ring)
				if err != nil {
					return err
				}
				return k.Revoke(ctx, id)
			})
		},
	}
	uidFlag(c, &uid)
	return c
}

func newRxKeyUnlink(app *cli.App, on *onHost) *cobra.Command {
	uid, ringName := int64(-1), ""
	c := &cobra.Command{
		Use:   "unlink KEY",
		Short: "Take a key out of a keyring",
		Long:  `Take a key out of your keyring, or another. One that is in no keyring is gone.`,
		Example: `  # it is not needed any more
  cnbus rx key unlink 52:2`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkUID(uid); err != nil {
				return err
			}
			return withKeys(c.Context(), app, *on, func(ctx context.Context, k *rxKeys) error {
				ring, err := k.ring(ctx, ringName, uid)
				if err != nil {
					return err
				}
				id, err := k.find(ctx, args[0], ring)
				if err != nil {
					return err
				}
				return k.Unlink(ctx, id, ring)
			})
		},
	}
	uidFlag(c, &uid)
	c.Flags().StringVar(&ringName, "ring", "", "out of this `keyring` in yours")
	_ = c.RegisterFlagCompletionFunc("ring", cobra.NoFileCompletions)
	return c
}

// isTerminal reports whether a payload would have to be typed.
func isTerminal(in any) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
