package natsbridge

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Bounds of what waits for the store.
const (
	// keptMost is how many bytes of messages may wait, of all groups.
	keptMost = 64 << 20
	// batchMost is how many bytes one batch has.
	batchMost = 256 << 10
	// durableMost is how many groups of the site may be durable.
	durableMost = 4096
	// The store is asked again after pauseFirst, doubled up to pauseLast.
	pauseFirst = int64(250e6)
	pauseLast  = int64(2e9)
	// What will be refused until somebody changes something, as long as nobody new asks, is asked again up to pauseDenied.
	pauseDenied = int64(30e9)
)

// durable is a group whose messages are in a stream of the store: docs/hosts.md, "Durable groups".
//
// Writing. One batch is under way at a time. It names the last message of this host in the stream, and the
// store takes it, whole, only if that is so: whatever is repeated, and however late an earlier attempt
// arrives, a message is in the stream once and in order. When the outcome is not known, this host's last message is
// looked at, which says it. While the stream has no message of this host, that it has none would be true again when all that are
// stored now have been evicted: so the attempt names the last message of the stream too, which is never the same again.
//
// Reading. The hub asks from where, and gets every message from there on; what is older it fetches.
type durable struct {
	group uint32
	want  connector.History
	epoch uint64 // of the stream
	batch int    // messages that one streamAppend may have

	opened  bool
	opening bool
	locate  bool // the hub waits for it
	check   bool // look whether the stream is the same still
	make    bool // it is not, and nobody has ended it

	queue     []kept
	doubt     uint64 // messages up to this number may be stored already
	doubtSeq  uint64 // at sequences after that
	top       uint64 // the stream had at least that sequence
	old       int64  // since then answers say that it has less
	writing   bool   // an operation is under way
	last      uint64 // the sequence of this host's last message
	lastKnown bool
	behind    int    // times that it was another, in a row
	end       uint64 // without one: the stream's last sequence when that was looked at
	crowded   int    // times that others were quicker then, in a row

	reading  uint64 // number of the reader, 0: nothing is read
	next     uint64 // sequence that comes next
	fetch    uint64 // wanted from there on
	fetching bool

	retryAt int64 // nothing is asked before
	pause   int64
	failed  string // what the store did not do
	why     string // and what it said
	dirty   bool
	defs    []definition // asked for by Define, not done yet
}

// definition is what Define asks for.
type definition struct {
	tag  uint32
	want connector.History
}

// kept is a message that waits for the store.
type kept struct {
	n     uint64
	port  uint32
	flags uint8
	tag   uint32
	size  int // of its frame
	data  []byte
	head  [connector.HeaderLen]byte // for a Fail
}

func (c *core) durableGroup(group uint32, want connector.History) *durable {
	d := c.durables[group]
	if d == nil {
		d = &durable{group: group, want: want}
		c.durables[group] = d
	}
	return d
}

const tooManyText = "too many durable groups in the site"

func (c *core) tooManyDurable(group uint32) bool {
	return c.durables[group] == nil && len(c.durables) >= durableMost
}

// touchDurable has d looked at at the end of the turn.
func (c *core) touchDurable(d *durable) {
	if !d.dirty {
		d.dirty = true
		c.durableDirty = append(c.durableDirty, d)
	}
}

func (c *core) flushDurables() {
	for len(c.durableDirty) > 0 {
		d := c.durableDirty[0]
		c.durableDirty = c.durableDirty[1:]
		d.dirty = false
		c.stir(d)
	}
	c.durableDirty = nil
}

// Append takes a message of a local client to a durable group.
func (c *core) Append(group uint32, want connector.History, port uint32, cred connector.Cred, fr []byte) {
	hd := frame.ParseHeader(fr)
	k := kept{port: port, flags: hd.Flags, tag: hd.Tag, size: len(fr)}
	copy(k.head[:], fr[frame.HeaderLen:])
	switch {
	case c.local != nil && c.local(group):
		c.soon(func() {
			c.answerKept(group, &k, connector.ErrInvalid, "a group that stays on its host cannot be durable")
		})
		return
	case c.keptBytes+len(fr) > keptMost:
		c.soon(func() { c.answerKept(group, &k, connector.ErrWouldBlock, "too much waits for the store") })
		return
	case c.tooManyDurable(group):
		c.soon(func() { c.answerKept(group, &k, connector.ErrLimit, tooManyText) })
		return
	}
	d := c.durableGroup(group, want)
	c.numbered++
	k.n = c.numbered
	h := c.header(packetDurable)
	h.seq = k.n
	k.data = make([]byte, packetHeaderLen, packetHeaderLen+recordHeaderLen+16+len(fr))
	h.put(k.data)
	k.data = appendSend(k.data, port, cred, fr)
	d.queue = append(d.queue, k)
	c.keptBytes += k.size
	c.touchDurable(d)
}

// answerKept tells the sender what became of its message.
func (c *core) answerKept(group uint32, k *kept, err *connector.Error, text string) {
	var answer []byte
	switch {
	case err != nil && k.flags&frame.FlagAck != 0:
		answer = frame.Header{Type: frame.Ack, Tag: k.tag, Code: err.Code()}.Append(nil, []byte(text)...)
	case err != nil:
		c.stats.Failed++
		answer = failFrame(&frame.Header{Flags: k.flags, Group: group}, k.head[:], err)
	case k.flags&frame.FlagAck != 0:
		answer = frame.Header{Type: frame.Ack, Tag: k.tag}.Append(nil)
	}
	if answer != nil {
		_ = c.hub.Deliver(storeHost, k.port, answer)
	}
	c.hub.Credit(storeHost, k.port, k.size)
}

// storeHost is what the hub calls the store.
const storeHost = 0

// settleKept answers the first n that wait.
func (c *core) settleKept(d *durable, n int, err *connector.Error, text string) {
	for i := range d.queue[:n] {
		k := &d.queue[i]
		c.keptBytes -= k.size
		if err == nil {
			c.stats.Published++
		}
		c.answerKept(d.group, k, err, text)
		*k = kept{}
	}
	if d.queue = d.queue[n:]; len(d.queue) == 0 {
		d.queue = nil
	}
}

// waitingTo is how many of those that wait have a number up to n.
func (d *durable) waitingTo(n uint64) int {
	i := 0
	for i < len(d.queue) && d.queue[i].n <= n {
		i++
	}
	return i
}

// stir asks the store for what is to be done next.
func (c *core) stir(d *durable) {
	if !c.connected || c.durables[d.group] != d {
		return
	}
	if d.retryAt > c.now {
		c.wake(d.retryAt)
		return
	}
	d.retryAt = 0
	switch {
	case d.opening:
	case d.locate, d.check, !d.opened && len(d.queue)+len(d.defs) > 0:
		c.openStream(d)
	}
	if !d.opened {
		return
	}
	if d.fetch != 0 && !d.fetching {
		c.fetchStream(d)
	}
	switch {
	case len(d.queue) == 0, d.writing:
	case !d.lastKnown:
		c.lookAtLast(d)
	default:
		c.appendBatch(d)
	}
}

func (c *core) stream(d *durable, op streamOp) {
	then := op.then
	op.group = d.group
	op.then = func(r streamResult) {
		if c.durables[d.group] != d {
			return // it has ended meanwhile, and who waited has been told
		}
		c.now = c.clock()
		then(r)
		c.touchDurable(d)
	}
	c.wire.Stream(op)
}

// later puts d off, as the store did not do what it was asked for.
func (c *core) putOff(d *durable, what string, err error) {
	if d.pause == 0 {
		c.log.Warn("the store of a durable group is away", "group", d.group, "what", what, "err", err)
	}
	d.wait(c.now, what, err)
	d.check = true
}

// wait puts off what is asked next, for longer each time.
func (d *durable) wait(now int64, what string, err error) {
	most := pauseLast
	if errors.Is(err, errStreamDenied) {
		most = pauseDenied
	}
	d.failed, d.why, d.pause = what, err.Error(), min(max(pauseFirst, 2*d.pause), most)
	d.retryAt = now + d.pause
}

// refuses takes note of what the store will not do, however often it is asked.
func (c *core) refuses(d *durable, what string, err error) {
	if d.why != err.Error() {
		c.log.Warn("the store refuses something for a durable group", "group", d.group, "what", what, "err", err)
	}
	d.failed, d.why = what, err.Error()
}

// durableTrouble says what the store does not do for durable groups, "" if there is nothing.
func (c *core) durableTrouble() (text string) {
	more := 0
	for _, g := range sortedKeys(c.durables) {
		switch d := c.durables[g]; {
		case d.why == "":
		case text == "":
			text = fmt.Sprintf("the store does not do its work for the durable group %d (%s): %s", g, d.failed, d.why)
		default:
			more++
		}
	}
	if more > 0 {
		text = fmt.Sprintf("%s; and so for %d more", text, more)
	}
	return text
}

// did says that the store has done that: if it is what it did not do before, it is there again.
func (d *durable) did(what string) {
	if d.failed == what {
		d.failed, d.why, d.pause = "", "", 0
	}
}

// appendBatch gives the store as many messages as it takes at once.
func (c *core) appendBatch(d *durable) {
	n, bytes := 0, 0
	for n < len(d.queue) && n < d.batch && (n == 0 || bytes+len(d.queue[n].data) <= batchMost) {
		bytes += len(d.queue[n].data)
		n++
	}
	if again := d.waitingTo(d.doubt); again > 0 {
		n = min(again, d.batch) // the same, so that the store knows them
	}
	op := streamOp{kind: streamAppend, seq: d.last, batch: make([][]byte, n), ids: make([]string, n)}
	for i := range n {
		op.batch[i] = d.queue[i].data
		op.ids[i] = streamMsgID(c.host, c.run, d.queue[i].n)
	}
	op.still, op.end = d.last == 0 && d.crowded < crowdedMost, d.end
	to := d.queue[n-1].n
	d.writing = true
	before := d.top
	doubtful := d.waitingTo(d.doubt) > 0
	op.then = func(r streamResult) {
		d.writing = false
		n := d.waitingTo(to)
		switch {
		case r.err == nil:
			d.last, d.behind, d.crowded = r.seq, 0, 0
			d.top = max(d.top, r.seq)
			d.did("append")
			c.settleKept(d, n, nil, "")
		case errors.Is(r.err, errStreamHas):
			d.lastKnown, d.behind = false, 0
			d.did("append")
			c.settleKept(d, n, nil, "")
		case errors.Is(r.err, errStreamBehind):
			// An earlier attempt was done, or the last message is no longer kept.
			d.lastKnown = false
			if op.still {
				d.crowded++
			} else if d.behind++; d.behind > behindMost {
				c.putOff(d, "append", r.err)
			}
		case errors.Is(r.err, errStreamNone):
			d.opened, d.lastKnown, d.check = false, false, true
		case definite(r.err):
			d.lastKnown = false
			c.refuses(d, "append", r.err)
			c.settleKept(d, n, streamError(r.err), r.err.Error())
		default:
			if !doubtful {
				d.doubtSeq = before
			}
			d.doubt, d.lastKnown = max(d.doubt, to), false
			c.putOff(d, "append", r.err)
			if op.seq == 0 && !op.still {
				// That may be done at any time yet: once more would be twice.
				c.settleKept(d, n, connector.ErrInterrupted, "it may have been stored, or may be yet: other hosts fill the stream too quickly to know")
			}
		}
	}
	c.stream(d, op)
}

const (
	// behindMost is how often the store is asked at once what it has of this host.
	behindMost = 3
	// crowdedMost is how often a host's first message is tried right behind the last one of the stream.
	crowdedMost = 16
)

// lookAtLast finds out what the store has of this host.
func (c *core) lookAtLast(d *durable) {
	d.writing = true
	c.stream(d, streamOp{kind: streamLast, then: func(r streamResult) {
		d.writing = false
		switch {
		case errors.Is(r.err, errStreamNone):
			d.opened, d.check = false, true
			return
		case r.err != nil:
			c.putOff(d, "last", r.err)
			return
		}
		d.did("last")
		d.last, d.lastKnown = 0, true
		if len(r.msgs) == 0 {
			d.top, d.end = max(d.top, r.last), r.last
			if n := d.waitingTo(d.doubt); n > 0 && r.first > d.doubtSeq+1 {
				// It may have been evicted: to store it again may be twice.
				c.settleKept(d, n, connector.ErrInterrupted, "it may have been stored, and is no longer kept")
			}
			return
		}
		d.last = r.msgs[0].seq
		d.top = max(d.top, d.last)
		if h, _, err := parsePacket(r.msgs[0].data); err == nil && h.run == c.run {
			c.settleKept(d, d.waitingTo(h.seq), nil, "")
		}
	}})
}

// failDurables ends what waits for the store.
func (c *core) failDurables(err *connector.Error, text string) {
	for _, g := range sortedKeys(c.durables) {
		d := c.durables[g]
		c.settleKept(d, len(d.queue), err, text)
	}
}

// parseStored reads a message of a stream; nil for what is none.
func (c *core) parseStored(group uint32, m *streamMsg) stored {
	s := stored{Pos: m.seq}
	h, records, err := parsePacket(m.data)
	switch {
	case err != nil:
	case h.kind != packetDurable:
		err = fmt.Errorf("%w: type %d", errType, h.kind)
	case h.host != m.host:
		err = fmt.Errorf("%w: %d on the subject of %d", errHost, h.host, m.host)
	}
	var body, rest []byte
	if err == nil {
		var kind recordKind
		if kind, body, rest, err = nextRecord(records); err == nil && (kind != recordSend || len(rest) > 0) {
			err = errRecord
		}
	}
	if err == nil {
		f := fields{b: body}
		f.u32()
		own := f.cred()
		if s.Host = c.nameOf(h.host); s.Host == "" {
			s.Host = m.name // it is not there at present
		}
		if s.Port, s.Cred, s.Frame, err = c.parseSend(h.host, s.Host, body); err == nil && (groupOf(s.Frame) != group || frame.Type(s.Frame[4]) != frame.Send) {
			err = errFrame
		}
		if h.host == c.host {
			s.Cred, s.Earlier = own, h.run != c.run
		}
	}
	if err != nil {
		c.refuse(h.host, err)
		return stored{Pos: m.seq}
	}
	c.stats.Received++
	return s
}
