package tsbench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/cnbus/cnbus/tsocket"
)

// readAhead is what rivals read into: as much as a PDUReader grows to.
const readAhead = 64 << 10

// owned reads PDUs into memory of their own.
func owned(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobPDUs)
		ctx := context.Background()
		r := tsocket.NewPDUReader(s, tsocket.U32Size, pduHead+pduSize)
		ours = times(func() error {
			pdu, err := r.Next(ctx)
			if err != nil || len(pdu) != pduHead+pduSize {
				return fmt.Errorf("PDU of %d bytes: %w", len(pdu), err)
			}
			runtime.KeepAlive(bytes.Clone(pdu[pduHead:]))
			return nil
		})
		br := bufio.NewReaderSize(c, readAhead)
		rival = times(func() error {
			head, err := br.Peek(pduHead)
			if err != nil {
				return err
			}
			n := binary.BigEndian.Uint32(head)
			if n > pduSize {
				return fmt.Errorf("PDU of %d bytes", n)
			}
			if _, err = br.Discard(pduHead); err != nil {
				return err
			}
			pdu := make([]byte, n)
			_, err = io.ReadFull(br, pdu)
			runtime.KeepAlive(pdu)
			return err
		})
		return ours, rival, err
	}
}

// borrowed looks at PDUs where they were read.
func borrowed(network string) newCase {
	return func(b *bench) (ours, rival side, err error) {
		s, c, err := b.streams(network, jobPDUs)
		ctx := context.Background()
		r := tsocket.NewPDUReader(s, tsocket.U32Size, pduHead+pduSize)
		ours = times(func() error {
			pdu, err := r.Next(ctx)
			if err != nil || len(pdu) != pduHead+pduSize {
				return fmt.Errorf("PDU of %d bytes: %w", len(pdu), err)
			}
			return nil
		})
		br := bufio.NewReaderSize(c, readAhead)
		rival = times(func() error {
			head, err := br.Peek(pduHead)
			if err != nil {
				return err
			}
			n := int(binary.BigEndian.Uint32(head))
			if n > pduSize {
				return fmt.Errorf("PDU of %d bytes", n)
			}
			if _, err = br.Peek(pduHead + n); err != nil {
				return err
			}
			_, err = br.Discard(pduHead + n)
			return err
		})
		return ours, rival, err
	}
}
