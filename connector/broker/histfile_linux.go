package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

const histSuffix = ".history"

// createHist makes the file of a group's history with a store of size bytes. It
// replaces the one there is only when adopt is called.
func createHist(dir string, group uint32, size int) (*histFile, error) {
	path := filepath.Join(dir, strconv.FormatUint(uint64(group), 10)+histSuffix)
	tmp := path + ".new"
	file, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history of group %d: %w", group, err)
	}
	defer file.Close()
	// Memory that is promised here cannot be missing later, which would be a SIGBUS.
	if err := unix.Fallocate(int(file.Fd()), 0, 0, int64(histHead+size)); err != nil {
		os.Remove(tmp)
		return nil, fmt.Errorf("history of group %d: %d bytes: %w", group, size, err)
	}
	f, err := mapHist(file, histHead+size)
	if err != nil {
		os.Remove(tmp)
		return nil, err
	}
	f.path = path
	f.put(0, histMagic)
	f.put(8, histVersion)
	f.put(histGroup, uint64(group))
	return f, nil
}

// adopt puts the file in its place.
func (f *histFile) adopt() error {
	if err := os.Rename(f.path+".new", f.path); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

func mapHist(file *os.File, size int) (*histFile, error) {
	mem, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("history %s: mmap: %w", file.Name(), err)
	}
	return &histFile{path: file.Name(), mem: mem}, nil
}

// unmap lets go of the file, which stays.
func (f *histFile) unmap() {
	_ = unix.Munmap(f.mem)
	f.mem = nil
}

// remove lets go of the file and deletes it.
func (f *histFile) remove() {
	f.unmap()
	_ = os.Remove(f.path)
}

// loadHistories takes up the histories that an earlier broker left in dir. What is
// damaged is put aside and reported; it never stops the broker.
func (h *hub) loadHistories(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("broker: histories: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("broker: histories: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasSuffix(e.Name(), histSuffix+".new"):
			_ = os.Remove(path) // it never was in its place
		case strings.HasSuffix(e.Name(), histSuffix):
			if err := h.loadHistory(path); err != nil {
				h.log.Warn("a stored history cannot be used; it is put aside", "path", path, "err", err)
				_ = os.Rename(path, path+".bad")
			}
		}
	}
	h.histDir = dir
	return nil
}

func (h *hub) loadHistory(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() < histHead+8 || st.Size() > 1<<41 {
		return fmt.Errorf("%d bytes: %w", st.Size(), connector.ErrInvalid)
	}
	f, err := mapHist(file, int(st.Size()))
	if err != nil {
		return err
	}
	num, want, owner, err := f.check()
	if err == nil {
		var ring *connector.HistoryRing
		if ring, err = connector.RestoreHistoryRing(f.store(), want, f.state()); err == nil {
			err = checkRecords(ring, num)
		}
		if err == nil {
			t := &history{ring: ring, epoch: f.u64(histEpoch), want: want, file: f, start: ring.Last() + 1}
			if owner != nil {
				t.acct = h.account(*owner)
				t.acct.history += int64(storeMax(want))
			}
			h.groups[num] = &group{num: num, hist: t}
			return nil
		}
	}
	f.unmap()
	return err
}

// checkRecords makes sure that every record is a message of the group, as it
// goes to clients unread.
func checkRecords(ring *connector.HistoryRing, group uint32) error {
	cur := ring.Seek(0)
	for {
		rec, pos, lost := ring.Read(&cur)
		if lost > 0 {
			continue
		}
		if rec == nil {
			return nil
		}
		hd, _, err := frame.Parse(rec)
		if err != nil || int(hd.Len) != len(rec) || hd.Type != frame.Msg || hd.Group != group || hd.Pos != pos {
			return fmt.Errorf("message %d is damaged: %w", pos, connector.ErrInvalid)
		}
	}
}
