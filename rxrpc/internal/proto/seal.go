package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// sealBatch is how many packets are sealed at once, where the class can.
const sealBatch = 32

// seal makes the bodies that are sent from what the application has given, as far as the
// call has a connection.
func (c *Call) seal() error {
	q := &c.tx
	if c.conn == nil {
		return nil
	}
	if c.conn.plain {
		q.sealed = q.next // they are the same
		return nil
	}
	for q.sealed != q.next {
		n := min(q.next.Sub(q.sealed), sealBatch)
		if err := c.sealMany(n); err != nil {
			return err
		}
		q.sealed = q.sealed.Add(n)
	}
	return nil
}

// sealMany seals the next n packets.
func (c *Call) sealMany(n int) error {
	e, q := c.e, &c.tx
	batch := e.sealing[:n]
	for i := range batch {
		p := q.at(q.sealed.Add(i))
		id := c.id
		id.Seq = q.sealed.Add(i)
		e.sealed[i] = e.txPool.get()
		batch[i] = Sealing{ID: id, Data: p.buf.b[:p.n], Body: e.sealed[i].b[:0]}
	}
	var err error
	if many, ok := c.conn.sec.(BatchSealer); ok && n > 1 {
		err = many.SealMany(batch)
	} else {
		for i := range batch {
			s := &batch[i]
			if s.Body, s.Checksum, err = c.conn.sec.Seal(s.Body, s.ID, s.Data); err != nil {
				break
			}
		}
	}
	for i := range batch {
		out, s := e.sealed[i], batch[i]
		e.sealed[i], batch[i] = nil, Sealing{}
		if err == nil && len(s.Body) > len(out.b) {
			err = &AbortError{Code: wire.ProtocolError, Reason: "a sealed packet that is too long"}
		}
		if err != nil {
			e.txPool.put(out)
			continue
		}
		copy(out.b[:], s.Body) // nothing, if the class has appended in place
		p := q.at(q.sealed.Add(i))
		e.txPool.put(p.buf)
		p.buf, p.n, p.cksum = out, uint16(len(s.Body)), s.Checksum
	}
	return err
}
