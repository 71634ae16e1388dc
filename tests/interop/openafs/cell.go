//go:build linux

package openafs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Mode says which keys a cell has.
type Mode string

const (
	NoAuth Mode = "noauth" // none: everybody is a superuser
	Auth   Mode = "auth"   // a DES key in KeyFile: classic rxkad
	K5     Mode = "k5"     // an AES key in KeyFileExt: rxkad-k5 and rxkad-kdf
	Both   Mode = "both"   // both; commands prefer the AES key
)

// Ports of the servers.
const (
	FilePort = 7000
	PTPort   = 7002
	VLPort   = 7003
	VolPort  = 7005
	BosPort  = 7007
)

// Service ids of the servers.
const (
	VLService   = 52
	PTService   = 73
	BosService  = 1
	VoteService = 50 // ubik, on VLPort and PTPort
)

// CellConfig says what cell to start.
type CellConfig struct {
	Mode Mode // "" is NoAuth
	// Addr is the address of the servers, which the host must have. OpenAFS
	// takes no address that begins with 127.0.
	Addr netip.Addr
	// Keytab is the path of a keytab of MIT's Kerberos with the key of the cell's service, in place of AESKey: an AESType key with
	// version KeytabVersion of Principal. The mode is K5.
	Keytab        string
	KeytabVersion int
	// FileServer starts the file and volume servers too, which takes a few
	// seconds more.
	FileServer bool
}

// A Cell is a running cell: bosserver, vlserver and ptserver, all with empty
// databases, and perhaps fileserver and volserver with an empty partition "a".
type Cell struct {
	Mode Mode
	Addr netip.Addr

	root *root
	bos  *exec.Cmd
	log  *tail
	done chan struct{} // closed when bosserver has ended
}

// StartCell starts a cell and waits until its servers answer, which takes the
// databases 4 s or more: they elect a site. ctx bounds only the start.
func StartCell(ctx context.Context, cfg CellConfig) (_ *Cell, err error) {
	if cfg.Mode == "" {
		cfg.Mode = NoAuth
	}
	r, err := newRoot(cfg.Addr)
	if err != nil {
		return nil, err
	}
	c := &Cell{Mode: cfg.Mode, Addr: cfg.Addr, root: r, log: &tail{}, done: make(chan struct{})}
	if err := c.configure(ctx, &cfg); err != nil {
		return nil, errors.Join(err, r.close())
	}
	// The context is not to end the server.
	if c.bos, err = r.command(context.WithoutCancel(ctx), "bosserver", "-nofork"); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if cfg.Mode == NoAuth {
		c.bos.Args = append(c.bos.Args, "-noauth")
	}
	c.bos.Stdout, c.bos.Stderr = c.log, c.log
	c.bos.SysProcAttr.Setpgid = true // its children are in its group
	if err := c.bos.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting bosserver: %w", err), r.close())
	}
	go func() { _ = c.bos.Wait(); close(c.done) }()
	err = c.waitDatabases(ctx)
	if err == nil && cfg.FileServer {
		err = c.startFileServer(ctx)
	}
	if err != nil {
		err = fmt.Errorf("starting a cell: %w\n%s", err, c.log)
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cell) configure(ctx context.Context, cfg *CellConfig) error {
	var vlArgs string
	if c.Mode == NoAuth {
		vlArgs = " -noauth"
		if err := c.root.write("var/lib/openafs/local/NoAuth", ""); err != nil {
			return err
		}
	}
	libexec := inRoot + "/usr/lib/openafs"
	err := c.root.write("etc/openafs/BosConfig", "restrictmode 0\nrestarttime 16 0 0 0 0\ncheckbintime 16 0 0 0 0\n"+
		"bnode simple vlserver 1\nparm "+libexec+"/vlserver"+vlArgs+"\nend\n"+
		"bnode simple ptserver 1\nparm "+libexec+"/ptserver\nend\n")
	if err != nil {
		return err
	}
	if c.Mode == Auth || c.Mode == Both {
		if err := c.root.keyFile(DESKey(), KeyVersion); err != nil {
			return err
		}
	}
	if c.Mode == K5 || c.Mode == Both {
		key, err := hex.DecodeString(AESKey)
		if err != nil {
			return err
		}
		version, tab := AESKeyVersion, keytab(Principal, Realm, AESKeyVersion, AESType, key)
		if cfg.Keytab != "" {
			if tab, err = os.ReadFile(cfg.Keytab); err != nil {
				return err
			}
			version = cfg.KeytabVersion
		}
		if err := c.root.write("etc/rxkad.keytab", string(tab)); err != nil {
			return err
		}
		return c.mustRun(ctx, "asetkey", "add", "rxkad_krb5", fmt.Sprint(version), fmt.Sprint(AESType), "/etc/rxkad.keytab", Principal+"@"+Realm)
	}
	return nil
}

// AuthFlag is the option with which commands are superusers of the cell.
func (c *Cell) AuthFlag() string {
	if c.Mode == NoAuth {
		return "-noauth"
	}
	return "-localauth"
}

// AddrPort is the address of the server with that port.
func (c *Cell) AddrPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(c.Addr, port) }

// Run runs a command of OpenAFS in the cell to its end or to that of ctx. It
// sees the temporary directory under its usual name.
func (c *Cell) Run(ctx context.Context, name string, args ...string) (Result, error) {
	return c.root.run(ctx, name, args...)
}

func (c *Cell) mustRun(ctx context.Context, name string, args ...string) error {
	r, err := c.Run(ctx, name, args...)
	if err == nil && r.Exit != 0 {
		err = errors.New(r.String())
	}
	return err
}

// until runs a command again and again until its output has what is wanted.
func (c *Cell) until(ctx context.Context, want, name string, args ...string) error {
	for {
		r, err := c.Run(ctx, name, args...)
		if err != nil {
			return err
		}
		if r.Exit == 0 && strings.Contains(r.Out, want) {
			return nil
		}
		select {
		case <-c.done:
			return errors.New("bosserver has ended")
		case <-ctx.Done():
			return fmt.Errorf("no %q: %v", want, r)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// A database is usable when its site has elected itself and has recovered.
func (c *Cell) waitDatabases(ctx context.Context) error {
	for _, port := range []int{VLPort, PTPort} {
		if err := c.until(ctx, "Recovery state 1f", "udebug", c.Addr.String(), fmt.Sprint(port)); err != nil {
			return err
		}
	}
	if err := c.mustRun(ctx, "vos", "listvldb", c.AuthFlag()); err != nil {
		return err
	}
	return c.mustRun(ctx, "pts", "listentries", c.AuthFlag())
}

// The file server registers itself with the databases once, so they come first.
func (c *Cell) startFileServer(ctx context.Context) error {
	if err := c.root.write("vicepa/AlwaysAttach", ""); err != nil {
		return err
	}
	libexec := inRoot + "/usr/lib/openafs"
	if err := c.mustRun(ctx, "bos", "create", c.Addr.String(), "fs", "fs",
		libexec+"/fileserver", libexec+"/volserver", libexec+"/salvager", c.AuthFlag()); err != nil {
		return err
	}
	if err := c.until(ctx, c.Addr.String(), "vos", "listaddrs", "-noresolve", c.AuthFlag()); err != nil {
		return err
	}
	if err := c.until(ctx, "file server running", "bos", "status", c.Addr.String(), "fs", c.AuthFlag()); err != nil {
		return err
	}
	return c.until(ctx, "/vicepa", "vos", "partinfo", c.Addr.String(), c.AuthFlag())
}

// File is where a file of the cell is for the caller: "var/log/openafs/VLLog".
func (c *Cell) File(name string) string { return filepath.Join(c.root.dir, name) }

// Close stops the servers and removes the cell's files.
func (c *Cell) Close() error {
	_ = c.bos.Process.Signal(syscall.SIGQUIT) // it stops its children
	select {
	case <-c.done:
	case <-time.After(15 * time.Second):
	}
	// Whatever is left of the group.
	_ = syscall.Kill(-c.bos.Process.Pid, syscall.SIGKILL)
	<-c.done
	return c.root.close()
}
