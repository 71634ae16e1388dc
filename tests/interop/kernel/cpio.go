package kernel

import (
	"fmt"
	"io"
)

// A cpio writes an archive in the "newc" format, which the kernel unpacks into
// its first file system.
type cpio struct {
	w   io.Writer
	ino int
	n   int64
	err error
}

const (
	cpioDir  = 0o040755
	cpioFile = 0o100644
	cpioExec = 0o100755
)

func (c *cpio) add(name string, mode int, data []byte) {
	c.ino++
	links := 1
	if mode == cpioDir {
		links = 2
	}
	c.printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	c.pad()
	c.write(data)
	c.pad()
}

func (c *cpio) close() error {
	c.add("TRAILER!!!", 0, nil)
	return c.err
}

func (c *cpio) printf(format string, args ...any) { c.write(fmt.Appendf(nil, format, args...)) }

func (c *cpio) pad() { c.write(make([]byte, -c.n&3)) }

func (c *cpio) write(b []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(b)
		c.n += int64(n)
	}
}
