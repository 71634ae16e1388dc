package klog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/jcmturner/gokrb5/v8/config"
)

// Where things are if nobody says otherwise.
const (
	usualConf  = "/etc/krb5.conf"
	usualCache = "/tmp/krb5cc_%d"
)

// maxFile is the most that is read of a file, in bytes.
const maxFile = 1 << 20

// readFile reads a file that is no longer than it may be. Nobody is waited for, should it be a pipe.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("not a regular file: %w", syscall.EINVAL)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("more than %d bytes: %w", maxFile, syscall.EFBIG)
	}
	return b, st, err
}

// readConf reads krb5.conf.
func readConf(path string) (*config.Config, error) {
	must := path != ""
	if path == "" {
		path = os.Getenv("KRB5_CONFIG")
		must = path != ""
	}
	if path == "" {
		path = usualConf
	}
	b, _, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !must {
		b, err = nil, nil
	}
	if err != nil {
		return nil, fail("read", path, err)
	}
	c, err := parseConf(b)
	return c, fail("read", path, err)
}

// parseConf has DNS asked for KDCs unless the file says otherwise, as MIT's library does; the one here has it the other
// way round.
func parseConf(b []byte) (c *config.Config, err error) {
	err = guard(func() (err error) {
		c, err = config.NewFromReader(bytes.NewReader(b))
		return err
	})
	var old config.UnsupportedDirective
	if err != nil && !errors.As(err, &old) || c == nil {
		return nil, fmt.Errorf("not a krb5.conf: %w: %w", syscall.EINVAL, err)
	}
	if !bytes.Contains(b, []byte("dns_lookup_kdc")) {
		c.LibDefaults.DNSLookupKDC = true
	}
	return c, nil
}

// cachePath is where the credential cache is. Other kinds than files are not supported.
func cachePath(path string) (string, error) {
	if path == "" {
		path = os.Getenv("KRB5CCNAME")
	}
	if path == "" {
		path = fmt.Sprintf(usualCache, os.Getuid())
	}
	kind, rest, ok := strings.Cut(path, ":")
	switch {
	case !ok || strings.Contains(kind, "/"):
		return path, nil
	case kind == "FILE":
		return rest, nil
	}
	return "", fail("read", path, fmt.Errorf("only credential caches that are files are supported: %w", syscall.ENOTSUP))
}
