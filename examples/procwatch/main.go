// Command procwatch prints what processes do on this host, straight from the kernel:
//
//	go run ./examples/procwatch
//	go run ./examples/procwatch -json -kinds exec,nonzero-exit
//
// Since Linux 6.2 it needs no privilege. Several programs would better share one
// subscription through a broker: see procevent.Subscribe and `cnbus proc`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cnbus/cnbus/connector/procevent"
)

func main() {
	kinds := flag.String("kinds", "fork,exec,exit", "the kinds of events, separated by commas")
	asJSON := flag.Bool("json", false, "one JSON object per line")
	flag.Parse()
	mask, err := parseKinds(*kinds)
	if err == nil {
		err = watch(mask, *asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "procwatch:", err)
		os.Exit(1)
	}
}

func parseKinds(list string) (mask procevent.Mask, err error) {
	for name := range strings.SplitSeq(list, ",") {
		kind, err := procevent.ParseKind(name)
		if err != nil {
			return 0, err
		}
		mask |= procevent.MaskOf(kind)
	}
	return mask, nil
}

func watch(mask procevent.Mask, asJSON bool) error {
	ctx := context.Background()
	c, err := procevent.Dial(ctx, &procevent.Config{Kinds: mask, Enrich: procevent.EnrichExe | procevent.EnrichUser})
	if err != nil {
		return err
	}
	defer c.Close()
	// An interrupt, or the end of the reader in `procwatch | head`, must lead to Close too: without it
	// the kernel would go on producing events for nobody.
	defer procevent.CloseOnSignal(c)()
	return printEvents(ctx, c, os.Stdout, asJSON)
}

// printEvents prints until ctx ends or nobody reads.
func printEvents(ctx context.Context, c *procevent.Client, w io.Writer, asJSON bool) error {
	enc := json.NewEncoder(w)
	for {
		e, err := c.Recv(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			err = enc.Encode(e)
		} else {
			_, err = fmt.Fprintln(w, line(&e))
		}
		if err != nil {
			return errors.Join(errors.New("cannot print"), err)
		}
	}
}

func line(e *procevent.Event) string {
	s := fmt.Sprintf("%12.6f %-8v %7d", e.Time.Seconds(), e.Kind, e.Tgid)
	switch e.Kind {
	case procevent.Lost:
		return fmt.Sprintf("%12s %d events are missing here", "", e.Count)
	case procevent.Fork:
		s += fmt.Sprintf(" by %d", e.ParentTgid)
	case procevent.Exit:
		s += fmt.Sprintf(" status %d signal %d", e.Status(), e.Signal())
	}
	if e.Info != nil {
		s += fmt.Sprintf(" uid %d %s", e.Info.UID, e.Info.Exe)
	}
	return s
}
