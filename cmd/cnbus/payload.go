package main

import (
	"bufio"
	"bytes"
	"io"
	"iter"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

// payload is the DATA argument of send and call: text, "-" for stdin, or
// hexadecimal with --hex.
type payload struct {
	hex bool
}

// bytes returns the data that args[0] names; nothing without.
func (p payload) bytes(in io.Reader, args []string) ([]byte, error) {
	var b []byte
	switch {
	case len(args) == 0:
	case args[0] == "-":
		var err error
		if b, err = io.ReadAll(io.LimitReader(in, 4*connector.MaxData)); err != nil {
			return nil, err
		}
	default:
		b = []byte(args[0])
	}
	if p.hex {
		var err error
		if b, err = cli.ParseHex(string(b)); err != nil {
			return nil, err
		}
	}
	if len(b) > connector.MaxData {
		return nil, cli.Usagef("%d bytes of data, a message has at most %d", len(b), connector.MaxData)
	}
	return b, nil
}

// lines yields each line of in, without its end.
func lines(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sc := bufio.NewScanner(in)
		sc.Buffer(nil, connector.MaxData+2)
		for sc.Scan() {
			if !yield(bytes.TrimSuffix(sc.Bytes(), []byte{'\r'}), nil) {
				return
			}
		}
		if err := sc.Err(); err != nil {
			yield(nil, err)
		}
	}
}
