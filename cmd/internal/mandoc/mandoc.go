// Package mandoc makes the man pages of a command from its help, for go
// generate and for the test that says when they are stale.
package mandoc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Pages returns the man pages of c and all commands below it, by file name.
func Pages(c *cobra.Command) (map[string][]byte, error) {
	pages := make(map[string][]byte)
	c.DisableAutoGenTag = true
	return pages, add(pages, c)
}

func add(pages map[string][]byte, c *cobra.Command) error {
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC) // of the pages' form: the same text makes the same page
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	var b bytes.Buffer
	header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Source: "cnbus", Manual: "Connector bus", Date: &date}
	c.DisableAutoGenTag = true
	if err := doc.GenMan(c, header, &b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	pages[name+".1"] = b.Bytes()
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
			continue
		}
		if err := add(pages, sub); err != nil {
			return err
		}
	}
	return nil
}

// Write writes the pages of c to dir, and removes those of commands that no longer
// exist.
func Write(c *cobra.Command, dir string) error {
	pages, err := Pages(c)
	if err != nil {
		return err
	}
	for _, old := range existing(c, dir) {
		if _, ok := pages[old]; !ok {
			err = errors.Join(err, os.Remove(filepath.Join(dir, old)))
		}
	}
	for name, b := range pages {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	return err
}

// Stale returns the names of the pages in dir that are not what Write would
// make of them.
func Stale(c *cobra.Command, dir string) ([]string, error) {
	pages, err := Pages(c)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, name := range existing(c, dir) {
		if _, ok := pages[name]; !ok {
			stale = append(stale, name)
		}
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if !bytes.Equal(got, want) {
			stale = append(stale, name)
		}
	}
	return stale, nil
}

func existing(c *cobra.Command, dir string) []string {
	var names []string
	for _, pattern := range []string{c.Name() + ".1", c.Name() + "-*.1"} {
		paths, _ := filepath.Glob(filepath.Join(dir, pattern)) // fails for a bad pattern only
		for _, p := range paths {
			names = append(names, filepath.Base(p))
		}
	}
	return names
}
