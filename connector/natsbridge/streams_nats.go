package natsbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cnbus/cnbus/connector"
)

const (
	// fetchMost is how many messages one streamFetch brings.
	fetchMost = 256
	// atomicMost is how many messages a server takes as one batch; one without batches takes one.
	atomicMost = 500
	// duplicatesTime is for how long a stream knows the names of its messages.
	duplicatesTime = 2 * time.Minute
	// streamsMost is how many operations on streams are under way at a time.
	streamsMost = 64
	// readerIdle is for how long the server keeps the place of a reader that says nothing.
	readerIdle = 8 * time.Second
)

func (s *natsStore) streamName(group uint32) string {
	return fmt.Sprintf("cnbus_%s_g_%d", s.site, group)
}

// durableSubject is where a host's messages to a durable group go.
func (s *natsStore) durableSubject(group uint32, host uint16) string {
	return fmt.Sprintf("cnbus.%s.d.%d.%d", s.site, group, host)
}

func (s *natsStore) streamConfig(group uint32, want connector.History) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: s.streamName(group), Subjects: []string{fmt.Sprintf("cnbus.%s.d.%d.*", s.site, group)}, Description: "cnbus, docs/hosts.md",
		MaxMsgs: int64(want.Messages), MaxBytes: int64(want.Bytes), MaxAge: want.Age, MaxMsgSize: fillPacket, MaxConsumers: -1,
		Discard: jetstream.DiscardOld, Duplicates: duplicatesTime, AllowAtomicPublish: true,
		DenyDelete: true, DenyPurge: true,
	}
	if c.MaxMsgs == 0 {
		c.MaxMsgs = -1
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = -1
	}
	if c.MaxAge > 0 {
		c.MaxAge = max(c.MaxAge, 100*time.Millisecond)
		c.Duplicates = min(c.Duplicates, c.MaxAge)
	}
	return c
}

// history is what a stream's configuration says.
func historyOf(c *jetstream.StreamConfig) connector.History {
	return connector.History{Messages: int(max(0, c.MaxMsgs)), Bytes: int(max(0, c.MaxBytes)), Age: c.MaxAge, Durable: true}
}

// doStream is streamOp on the store; it waits for the answer. lists of hosts are those of the site.
func (s *natsStore) doStream(ctx context.Context, op *streamOp) (r streamResult) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	switch op.kind {
	case streamOpen:
		r, r.err = s.openStream(ctx, op.group, op.want, false)
	case streamLook:
		var stream jetstream.Stream
		if stream, r.err = s.js.Stream(ctx, s.streamName(op.group)); r.err == nil {
			r = endsOf(stream.CachedInfo())
		}
	case streamDefine:
		r, r.err = s.openStream(ctx, op.group, op.want, true)
	case streamDelete:
		r.err = s.alone(ctx, op.group, func(ctx context.Context) error {
			err := s.js.DeleteStream(ctx, s.streamName(op.group))
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			return err
		})
	case streamLast:
		r, r.err = s.lastOf(ctx, op.group)
	case streamAppend:
		r.seq, r.err = s.appendStream(ctx, op)
	case streamFetch:
		r, r.err = s.fetchStream(ctx, op.group, op.seq)
	case streamList:
		r.groups, r.err = s.listStreams(ctx)
	}
	r.err = streamFailure(r.err)
	return r
}

// streamFailure says of an error of NATS what the core has to know of it.
func streamFailure(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, !errors.As(err, &api):
		return err
	case api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return errStreamNone
	case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return errStreamBehind
	}
	switch api.ErrorCode {
	case 10201: // the batch has a message that is there already
		return errStreamHas
	case 10002, 10023, 10028, 10047, 10027, 10026, 10120: // the account's resources, resources, memory, storage, streams, consumers, limits of the account
		return fmt.Errorf("%w: %w", errStreamFull, err)
	case 10003, 10025, // bad request, invalid JSON
		10054, 10097, // size of a message, of its header
		10052, 10074, // the configuration: more replicas than the server can have
		10058, 10065, // the name, the subjects are another stream's
		10109,        // sealed
		10113, 10122, // the account wants a bound of bytes, a lower one
		10174, 10177, 10179, 10193, 10199: // a batch that the stream does not take
		return fmt.Errorf("%w: %w", errStreamDenied, err)
	}
	return err // any other may pass by itself: too many batches under way, a cluster that is changing, ...
}

func (s *natsStore) openStream(ctx context.Context, group uint32, want connector.History, update bool) (r streamResult, err error) {
	cfg := s.streamConfig(group, want)
	stream, err := s.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if cfg.Replicas, err = s.replicasNow(ctx); err != nil {
			return r, err
		}
		err = s.alone(ctx, group, func(ctx context.Context) (err error) {
			if stream, err = s.js.CreateStream(ctx, cfg); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = s.js.Stream(ctx, cfg.Name) // another host was first
			}
			return err
		})
	}
	if err != nil {
		return r, err
	}
	info := stream.CachedInfo()
	if has := historyOf(&info.Config); update && has != want {
		err = s.alone(ctx, group, func(ctx context.Context) (err error) {
			if stream, err = s.js.Stream(ctx, cfg.Name); err != nil {
				return err
			}
			cfg.Replicas = stream.CachedInfo().Config.Replicas // which another host may just have raised
			stream, err = s.js.UpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return r, err
		}
		info = stream.CachedInfo()
	}
	return endsOf(info), nil
}

func endsOf(info *jetstream.StreamInfo) streamResult {
	r := streamResult{epoch: uint64(info.Created.UnixNano()), first: max(1, info.State.FirstSeq), last: info.State.LastSeq, batch: 1}
	if info.Config.AllowAtomicPublish {
		r.batch = atomicMost
	}
	if info.Cluster != nil {
		r.contact = contact(info.Cluster.Replicas)
	}
	return r
}

// contact is how long ago a leader of those followers has heard of a majority, itself included.
func contact(followers []*jetstream.PeerInfo) int64 {
	if len(followers) == 0 {
		return 0
	}
	ages := make([]int64, len(followers))
	for i, f := range followers {
		if ages[i] = max(1, int64(f.Active)); f.Offline || f.Active == 0 {
			ages[i] = math.MaxInt64
		}
	}
	slices.Sort(ages)
	return ages[(len(followers)+1)/2-1]
}

// lastOf returns this host's last message in the stream, if there is one.
func (s *natsStore) lastOf(ctx context.Context, group uint32) (r streamResult, err error) {
	stream, err := s.js.Stream(ctx, s.streamName(group))
	if err != nil {
		return r, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, s.durableSubject(group, s.host))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		info, err := stream.Info(ctx) // after it: it was evicted before
		if err != nil {
			return r, err
		}
		return endsOf(info), nil
	}
	if err != nil {
		return r, err
	}
	r.msgs = []streamMsg{{seq: m.Sequence, host: s.host, data: m.Data}}
	return r, nil
}

// appendStream publishes a batch, which the stream takes whole or not at all.
func (s *natsStore) appendStream(ctx context.Context, op *streamOp) (uint64, error) {
	subject := s.durableSubject(op.group, s.host)
	for i, data := range op.batch {
		m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{}}
		m.Header.Set(jetstream.MsgIDHeader, op.ids[i])
		if i == 0 {
			m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(op.seq, 10))
			if op.still {
				m.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(op.end, 10))
			}
		}
		if len(op.batch) > 1 {
			m.Header.Set("Nats-Batch-Id", s.batchName(op))
			m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		}
		if i < len(op.batch)-1 {
			if err := s.nc.PublishMsg(m); err != nil {
				return 0, err
			}
			continue
		}
		if len(op.batch) > 1 {
			m.Header.Set("Nats-Batch-Commit", "1")
		}
		reply, err := s.nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return 0, err
		}
		return parsePubAck(reply.Data)
	}
	return 0, errStreamDenied // an empty batch: never asked for
}

// batchName is one that no other attempt has: the rest of an earlier one may still be on its way.
func (s *natsStore) batchName(op *streamOp) string {
	if op.name == "" {
		op.name = strconv.FormatUint(newRun(), 16)
	}
	return op.name
}

func parsePubAck(b []byte) (uint64, error) {
	var ack struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	if err := json.Unmarshal(b, &ack); err != nil {
		return 0, fmt.Errorf("answer of the store: %w", err)
	}
	switch {
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Duplicate:
		return 0, errStreamHas
	case ack.Seq == 0:
		return 0, errors.New("answer of the store: no sequence")
	}
	return ack.Seq, nil
}

// fetchStream reads some messages from seq on. What lies between is no longer kept.
func (s *natsStore) fetchStream(ctx context.Context, group uint32, seq uint64) (r streamResult, err error) {
	stream, err := s.js.Stream(ctx, s.streamName(group))
	if err != nil {
		return r, err
	}
	r.first = stream.CachedInfo().State.FirstSeq
	if stream.CachedInfo().State.LastSeq < seq {
		return r, nil
	}
	cons, err := stream.CreateConsumer(ctx, readerConfig(seq))
	if err != nil {
		return r, err
	}
	defer func() { _ = stream.DeleteConsumer(ctx, cons.CachedInfo().Name) }()
	batch, err := cons.Fetch(fetchMost, jetstream.FetchMaxWait(time.Second))
	if err != nil {
		return r, err
	}
	place := place{}
	for m := range batch.Messages() {
		sm, pending, err := place.next(m)
		if err != nil {
			break
		}
		if r.msgs = append(r.msgs, sm); pending == 0 {
			break
		}
	}
	return r, s.nameHosts(ctx, r.msgs)
}

// readerConfig is that of a consumer that reads from seq on, alone and without acknowledging.
func readerConfig(seq uint64) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, seq), AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerIdle,
	}
}

// place is how far the messages of a consumer have come: a gap in its own count says that some did not arrive.
type place struct{ count uint64 }

var errGap = errors.New("messages of a reader are missing")

func (p *place) next(m jetstream.Msg) (sm streamMsg, pending uint64, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return sm, 0, err
	}
	if meta.Sequence.Consumer != p.count+1 {
		return sm, 0, errGap
	}
	p.count++
	sm = streamMsg{seq: meta.Sequence.Stream, data: m.Data()}
	subject := m.Subject()
	if n, err := strconv.ParseUint(subject[strings.LastIndexByte(subject, '.')+1:], 10, 16); err == nil {
		sm.host = uint16(n)
	}
	return sm, meta.NumPending, nil
}

// listStreams finds the durable groups of the site: all, or it fails. The list of configurations has only those streams whose
// leaders have answered; that of names is whole.
func (s *natsStore) listStreams(ctx context.Context) (map[uint32]connector.History, error) {
	groups := make(map[uint32]connector.History)
	ours := jetstream.WithStreamListSubject(fmt.Sprintf("cnbus.%s.d.>", s.site))
	list := s.js.ListStreams(ctx, ours)
	for info := range list.Info() {
		if group := s.groupOfStream(info.Config.Name); group != 0 {
			groups[group] = historyOf(&info.Config)
		}
	}
	if err := list.Err(); err != nil {
		return nil, err
	}
	names := s.js.StreamNames(ctx, ours)
	var missing []string
	for name := range names.Name() {
		if group := s.groupOfStream(name); group != 0 && !groups[group].Durable {
			missing = append(missing, name)
		}
	}
	if err := names.Err(); err != nil {
		return nil, err
	}
	for _, name := range missing {
		switch stream, err := s.js.Stream(ctx, name); {
		case err == nil:
			groups[s.groupOfStream(name)] = historyOf(&stream.CachedInfo().Config)
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return groups, nil
}

// groupOfStream is the group that a stream has the messages of, 0 if it is another.
func (s *natsStore) groupOfStream(stream string) uint32 {
	name, ok := strings.CutPrefix(stream, "cnbus_"+s.site+"_g_")
	n, err := strconv.ParseUint(name, 10, 32)
	if !ok || err != nil {
		return 0
	}
	return uint32(n)
}

// durableGroups is listStreams for who joins: a cluster that is only starting is asked until ctx ends.
func (s *natsStore) durableGroups(ctx context.Context) (map[uint32]connector.History, error) {
	for {
		once, cancel := context.WithTimeout(ctx, storeTime)
		groups, err := s.listStreams(once)
		cancel()
		if err == nil || s.refused() != nil {
			return groups, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(askAgain):
		}
	}
}

// Stream does op on a goroutine of its own.
func (g carrier) Stream(op streamOp) {
	g.wg.Go(func() {
		select {
		case g.reads.ops <- struct{}{}:
		case <-g.ctx.Done():
			return
		}
		ctx, end := g.reads.whileConnected()
		r := g.store.doStream(ctx, &op)
		end()
		<-g.reads.ops
		select {
		case <-g.joined: // the hub asks before Join has returned
		case <-g.ctx.Done():
			return
		}
		g.post(func() {
			op.then(r)
			g.core.Flush()
		})
	})
}

// readers are the readers of durable groups. The map is the loop's.
type readers struct {
	g    *Bridge
	ops  chan struct{}
	live map[uint32]context.CancelFunc

	mu   sync.Mutex    // guards lost
	lost chan struct{} // closed when the connection is lost: no answer comes by it any more
}

func newReaders(g *Bridge) *readers {
	return &readers{g: g, ops: make(chan struct{}, streamsMost), live: make(map[uint32]context.CancelFunc), lost: make(chan struct{})}
}

// whileConnected is a context that ends with the connection.
func (r *readers) whileConnected() (context.Context, context.CancelFunc) {
	r.mu.Lock()
	lost := r.lost
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(r.g.ctx)
	r.g.wg.Go(func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// disconnected ends what waits for an answer.
func (r *readers) disconnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lost)
	r.lost = make(chan struct{})
}

// Follow begins or ends the reading of a group.
func (g carrier) Follow(group uint32, reader, seq uint64) {
	if end := g.reads.live[group]; end != nil {
		end()
		delete(g.reads.live, group)
	}
	if reader == 0 {
		return
	}
	ctx, end := context.WithCancel(g.ctx)
	g.reads.live[group] = end
	g.wg.Go(func() { g.follow(ctx, group, reader, seq) })
}

// follow reads the stream of a group until ctx ends, whatever happens to the server.
func (g *Bridge) follow(ctx context.Context, group uint32, reader, seq uint64) {
	for ctx.Err() == nil {
		next, err := g.readStream(ctx, group, reader, seq)
		if ctx.Err() == nil {
			g.post(func() {
				g.core.readerBroke(group, reader)
				g.core.Flush()
			})
		}
		if next == seq && err != nil {
			g.log.Debug("reader of a durable group", "group", group, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(askAgain):
			}
		}
		seq = next
	}
}

// readStream reads until something goes wrong, and returns from where to go on.
func (g *Bridge) readStream(ctx context.Context, group uint32, reader, seq uint64) (uint64, error) {
	once, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	cons, err := g.store.js.CreateConsumer(once, g.store.streamName(group), readerConfig(seq))
	if err != nil {
		return seq, err
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(2*fetchMost), jetstream.PullHeartbeat(time.Second),
		jetstream.PullExpiry(10*time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return seq, err
	}
	defer g.endReader(group, cons.CachedInfo().Name)
	in := make(chan streamMsg, fetchMost)
	var failed error
	g.wg.Go(func() {
		defer close(in)
		place := place{}
		for {
			m, err := msgs.Next()
			var sm streamMsg
			if err == nil {
				sm, _, err = place.next(m)
			}
			if err != nil {
				failed = err
				return
			}
			select {
			case in <- sm:
			case <-ctx.Done():
				return
			}
		}
	})
	stop := context.AfterFunc(ctx, msgs.Stop)
	defer stop()
	defer msgs.Stop()
	for {
		first, ok := <-in
		if !ok {
			return seq, failed
		}
		batch := []streamMsg{first}
	more:
		for len(batch) < fetchMost {
			select {
			case m, ok := <-in:
				if !ok {
					break more
				}
				batch = append(batch, m)
			default:
				break more
			}
		}
		if err := g.store.nameHosts(ctx, batch); err != nil {
			return seq, err
		}
		if !g.give(ctx, group, reader, batch) {
			return seq, connector.ErrClosed
		}
		seq = batch[len(batch)-1].seq + 1
	}
}

// endReader has the server forget a reader at once, if it can be told.
func (g *Bridge) endReader(group uint32, name string) {
	if g.ctx.Err() != nil || !g.nc.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(g.ctx, time.Second)
	defer cancel()
	_ = g.store.js.DeleteConsumer(ctx, g.store.streamName(group), name)
}

// give has the core take messages, and waits until it has.
func (g *Bridge) give(ctx context.Context, group uint32, reader uint64, batch []streamMsg) bool {
	done := make(chan struct{})
	batch = slices.Clip(batch)
	if !g.post(func() {
		g.core.storedMsgs(group, reader, batch)
		g.core.Flush()
		close(done)
	}) {
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
