package natsbridge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

var quiet = slog.New(slog.DiscardHandler)

// startServer runs a NATS server for a test.
func startServer(t testing.TB) *Embedded {
	e, err := StartEmbedded(EmbeddedConfig{Name: "test", Store: t.TempDir(), Log: quiet})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

// connectTo connects to the server of a test, which may be too busy for the first attempt.
func connectTo(t testing.TB, e *Embedded) *nats.Conn {
	for end := time.Now().Add(2 * time.Minute); ; {
		nc, err := nats.Connect("", nats.InProcessServer(e.s), nats.Timeout(time.Minute))
		if err != nil && passing(err) && time.Now().Before(end) {
			continue
		}
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
}

func testStore(t *testing.T, lease time.Duration) *natsStore {
	nc := connectTo(t, startServer(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	cfg, err := (&Config{Host: "test", Site: "test", Lease: lease}).withDefaults()
	require.NoError(t, err)
	s, err := openStore(t.Context(), js, cfg, func() error { return nil })
	require.NoError(t, err)
	other := *cfg
	other.Lease = 2 * lease
	_, err = openStore(t.Context(), js, &other, func() error { return nil })
	assert.ErrorContains(t, err, "all hosts of a site have the same lease")
	return s
}

// TestTheStoreIsTheOneOfTheSimulation: the operations have the results that the core, and its simulation, count on.
func TestTheStoreIsTheOneOfTheSimulation(t *testing.T) {
	s := testStore(t, time.Second)
	id := cbid.Make(0x200, 1)
	do := func(kind storeKind, value string, rev uint64) storeResult {
		return s.do(t.Context(), &storeOp{kind: kind, bucket: bucketIDs, key: idKey(id), value: []byte(value), rev: rev})
	}
	assert.ErrorIs(t, do(storeGet, "", 0).err, errStoreNotFound)
	made := do(storeCreate, "a", 0)
	require.NoError(t, made.err)
	assert.ErrorIs(t, do(storeCreate, "b", 0).err, errStoreExists)
	got := do(storeGet, "", 0)
	assert.Equal(t, storeResult{value: []byte("a"), rev: made.rev}, got)
	changed := do(storeUpdate, "c", made.rev)
	require.NoError(t, changed.err)
	assert.Greater(t, changed.rev, made.rev)
	assert.ErrorIs(t, do(storeUpdate, "d", made.rev).err, errStoreExists)
	assert.ErrorIs(t, do(storeDelete, "", made.rev).err, errStoreExists)
	require.NoError(t, do(storeDelete, "", changed.rev).err)
	assert.ErrorIs(t, do(storeGet, "", 0).err, errStoreNotFound)
	again := do(storeCreate, "e", 0)
	require.NoError(t, again.err)
	assert.Greater(t, again.rev, changed.rev, "revisions of a key only grow, also when it was deleted")
}

func TestNumbersStayAndLeasesEnd(t *testing.T) {
	s := testStore(t, time.Second)
	s.renewal = storeTime // whatever the lease: the machine may be busy
	a, err := s.hostNumber(t.Context(), "a")
	require.NoError(t, err)
	again, err := s.hostNumber(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, a, again)
	assert.Equal(t, firstNumber("a"), a)

	// A name whose number is taken gets the next one.
	op := storeOp{kind: storeCreate, bucket: bucketIDs, key: numberKey(firstNumber("b")), value: leaseValue(firstNumber("b"), 0, "other")}
	require.NoError(t, s.do(t.Context(), &op).err)
	b, err := s.hostNumber(t.Context(), "b")
	require.NoError(t, err)
	assert.Equal(t, firstNumber("b")%connector.MaxHost+1, b)

	rev, _, err := s.takeLease(t.Context(), a, 1, "a", time.Second)
	require.NoError(t, err)
	// The next run waits until the lease of one that was killed has ended.
	_, _, err = s.takeLease(t.Context(), a, 2, "a", time.Second)
	require.NoError(t, err)
	op = storeOp{kind: storeUpdate, bucket: bucketHosts, key: leaseKey(a), value: leaseValue(a, 1, "a"), rev: rev}
	assert.ErrorIs(t, s.do(t.Context(), &op).err, errStoreExists)
}

func TestASecondHostOfTheSameNameIsRefused(t *testing.T) {
	s := testStore(t, time.Minute) // the first one is not too late, however busy the machine is
	rev, _, err := s.takeLease(t.Context(), 7, 1, "a", time.Second)
	require.NoError(t, err)
	seen := make(chan struct{}, 1)
	s.trying = func(error) {
		select {
		case seen <- struct{}{}:
		default:
		}
	}
	refused := make(chan error, 1)
	go func() {
		_, _, err := s.takeLease(t.Context(), 7, 2, "a", time.Second)
		refused <- err
	}()
	<-seen
	r := s.do(t.Context(), &storeOp{kind: storeUpdate, bucket: bucketHosts, key: leaseKey(7), value: leaseValue(7, 1, "a"), rev: rev})
	require.NoError(t, r.err)
	err = <-refused
	require.ErrorIs(t, err, connector.ErrDuplicate)
	assert.EqualError(t, err, "a host named a has joined the site already (number 7)")
}

// lateStore does what it is asked for, and its answer is why: the first n times.
type lateStore struct {
	jetstream.KeyValue
	n   int
	why error
}

func (l *lateStore) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	rev, err := l.KeyValue.Create(ctx, key, value, opts...)
	if l.n--; l.n >= 0 {
		return 0, fmt.Errorf("x: %w", l.why)
	}
	return rev, err
}

// TestAStoreThatAnswersLate has given the host its number and its lease: it goes by what is in the store. So it does when
// the servers of the store have no leader for a moment.
func TestAStoreThatAnswersLate(t *testing.T) {
	for _, c := range []struct {
		why  error
		told int
	}{
		{context.DeadlineExceeded, 2},
		{&jetstream.APIError{Code: 503, ErrorCode: 10008}, 2},
		{jetstream.ErrNoStreamResponse, 0}, // not worth a word
	} {
		t.Run(c.why.Error(), func(t *testing.T) { testLateStore(t, c.why, c.told) })
	}
}

func testLateStore(t *testing.T, why error, told int) {
	s := testStore(t, time.Minute)
	for b, kv := range s.buckets {
		s.buckets[b] = &lateStore{kv, 1, why}
	}
	said := 0
	s.trying = func(error) { said++ }
	n, err := s.hostNumber(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, firstNumber("a"), n)
	rev, _, err := s.takeLease(t.Context(), n, 1, "a", time.Minute)
	require.NoError(t, err)
	r := s.do(t.Context(), &storeOp{kind: storeUpdate, bucket: bucketHosts, key: leaseKey(n), value: leaseValue(n, 1, "a"), rev: rev})
	require.NoError(t, r.err)
	assert.Equal(t, told, said)

	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.hostNumber(over, "b")
	require.ErrorIs(t, err, context.Canceled)

	// What does not pass by itself is told at once.
	denied := &jetstream.APIError{Code: 403, ErrorCode: 1}
	s.buckets[bucketIDs] = &lateStore{s.buckets[bucketIDs], 1, denied}
	_, err = s.hostNumber(t.Context(), "b")
	require.ErrorIs(t, err, denied)
}

// leaderless is a store that nobody leads, for n operations.
type leaderless struct {
	jetstream.KeyValue
	n int
}

func (l *leaderless) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	if l.n--; l.n >= 0 {
		return 0, jetstream.ErrNoStreamResponse
	}
	return l.KeyValue.Create(ctx, key, value, opts...)
}

// TestAnOperationWaitsForALeader, as long as it may take.
func TestAnOperationWaitsForALeader(t *testing.T) {
	s := testStore(t, time.Minute)
	s.buckets[bucketIDs] = &leaderless{s.buckets[bucketIDs], 3}
	op := storeOp{kind: storeCreate, bucket: bucketIDs, key: "i.1.1", value: []byte("x")}
	r := s.do(t.Context(), &op)
	require.NoError(t, r.err)
	assert.NotZero(t, r.rev)

	s.buckets[bucketIDs].(*leaderless).n = math.MaxInt
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.do(over, &op).err, jetstream.ErrNoStreamResponse)
}

// TestAServerThatIsLateHasAllThatWasSent in the end: who joins waits for it as long as its context lets it.
func TestAServerThatIsLateHasAllThatWasSent(t *testing.T) {
	said, asked := 0, 0
	s := testStore(t, time.Minute)
	s.trying = func(error) { said++ }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	require.NoError(t, s.flushed(ctx, func(once context.Context) error {
		_, bounded := once.Deadline()
		assert.True(t, bounded, "NATS's client takes no other")
		if asked++; asked < 3 {
			return context.DeadlineExceeded
		}
		return nil
	}))
	assert.Equal(t, 3, asked)
	assert.Equal(t, 2, said)
	denied := &jetstream.APIError{Code: 403, ErrorCode: 1}
	require.ErrorIs(t, s.flushed(ctx, func(context.Context) error { return denied }), denied)
	require.ErrorIs(t, s.flushed(ctx, func(context.Context) error {
		cancel()
		return context.DeadlineExceeded
	}), context.DeadlineExceeded)
}

// TestALeaseThatEndsLate is waited for as long as nobody renews it: the store is busy, and nobody has the name.
func TestALeaseThatEndsLate(t *testing.T) {
	s := testStore(t, time.Minute)
	rev, _, err := s.takeLease(t.Context(), 7, 1, "a", time.Second)
	require.NoError(t, err)
	tries := 0
	s.trying = func(error) {
		if tries++; tries == 70 { // of 50 ms: more than twice the lease
			assert.NoError(t, s.do(t.Context(), &storeOp{kind: storeDelete, bucket: bucketHosts, key: leaseKey(7), rev: rev}).err)
		}
	}
	_, _, err = s.takeLease(t.Context(), 7, 2, "a", time.Second)
	require.NoError(t, err)
	assert.Equal(t, 70, tries)
}

// TestAServerThatHasNoTime to look who connects is asked again.
func TestAServerThatHasNoTime(t *testing.T) {
	for says, want := range map[string]struct {
		text   string
		passes bool
	}{
		"-ERR 'Authentication Timeout'\r\n":  {"uthentication", true},
		"PING\r\n":                           {"PING", true}, // it has waited for two seconds
		"-ERR 'Authorization Violation'\r\n": {"uthorization", false},
		"220 mail.example.org\r\n":           {"220", false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "INFO {\"max_payload\":1048576}\r\n")
			for in := bufio.NewScanner(c); in.Scan() && in.Text() != "PING"; {
				continue
			}
			_, _ = io.WriteString(c, says)
		}()
		_, err = nats.Connect("nats://"+l.Addr().String(), nats.Timeout(2*time.Minute))
		require.ErrorContains(t, err, want.text)
		assert.Equal(t, want.passes, passing(err), "%v", err)
		require.NoError(t, l.Close())
	}
}

// TestAClusterThatStarts is waited for: not all of its servers are there at once. What is wrong for good is not.
func TestAClusterThatStarts(t *testing.T) {
	for err, want := range map[error]bool{
		context.DeadlineExceeded:                            true,
		&jetstream.APIError{Code: 503, ErrorCode: 10008}:    true, // no leader
		&jetstream.APIError{Code: 400, ErrorCode: 10005}:    true, // no suitable peers for placement
		&jetstream.APIError{Code: 400, ErrorCode: 10058}:    true, // another host makes it at this moment
		&jetstream.APIError{Code: 500, ErrorCode: 10049}:    true,
		&jetstream.APIError{Code: 500, ErrorCode: 10074}:    false, // replicas, and one server
		&jetstream.APIError{Code: 500, ErrorCode: 10052}:    false, // wrong configuration
		fmt.Errorf("x: %w", &jetstream.APIError{Code: 403}): false,
	} {
		assert.Equal(t, want, passes(err), "%v", err)
	}
}

// TestOnHowManyServers: without a word three of a cluster, one where there is no cluster at once, or where three do not come.
func TestOnHowManyServers(t *testing.T) {
	s := testStore(t, time.Second)
	assert.True(t, s.auto)
	assert.Equal(t, 1, s.replicas, "the server is alone")
	n, err := s.replicasNow(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	require.NoError(t, s.spread(t.Context()), "nothing to be done")

	api := func(code, detail int) error {
		return fmt.Errorf("x: %w", &jetstream.APIError{Code: code, ErrorCode: jetstream.ErrorCode(detail)})
	}
	now, long := time.Now(), time.Now().Add(-fewServers)
	for _, c := range []struct {
		auto  bool
		err   error
		began time.Time
		want  bool
	}{
		{true, api(500, noCluster), now, true},
		{true, api(400, noPeers), now, false},
		{true, api(400, noPeers), long, true},
		{true, api(400, 10047), now, true}, // no storage for three, perhaps for one
		{true, api(503, 10008), long, false},
		{false, api(500, noCluster), now, false},
		{false, api(400, noPeers), long, false},
	} {
		s := &natsStore{auto: c.auto, replicas: replicasOfCluster}
		assert.Equal(t, c.want, s.fewer(c.err, c.began), "%+v", c)
		assert.Equal(t, c.want, s.replicas == 1)
		assert.False(t, c.want && s.fewer(c.err, c.began), "one is the least")
	}
}

// lateServer is JetStream of a server that does not know yet what another one has made.
type lateServer struct {
	jetstream.JetStream
	asked int
}

func (l *lateServer) KeyValue(ctx context.Context, name string) (jetstream.KeyValue, error) {
	if l.asked++; l.asked%3 != 0 {
		return nil, jetstream.ErrBucketNotFound
	}
	return l.JetStream.KeyValue(ctx, name)
}

// TestABucketThatIsNotKnownEverywhereYet is asked for again.
func TestABucketThatIsNotKnownEverywhereYet(t *testing.T) {
	nc := connectTo(t, startServer(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	said := 0
	cfg, err := (&Config{Host: "a", Trying: func(error) { said++ }}).withDefaults()
	require.NoError(t, err)
	late := &lateServer{JetStream: js}
	_, err = openStore(t.Context(), late, cfg, func() error { return nil })
	require.NoError(t, err)
	assert.Equal(t, 6, late.asked)
	assert.GreaterOrEqual(t, said, 4, "and when an operation takes long")
}

func TestContactOfALeader(t *testing.T) {
	peer := func(active time.Duration, offline bool) *jetstream.PeerInfo {
		return &jetstream.PeerInfo{Active: active, Offline: offline}
	}
	assert.Zero(t, contact(nil))
	assert.EqualValues(t, 3, contact([]*jetstream.PeerInfo{peer(7, false), peer(3, false)}), "it and one other are two of three")
	assert.EqualValues(t, 7, contact([]*jetstream.PeerInfo{peer(7, false), peer(3, true)}))
	assert.EqualValues(t, math.MaxInt64, contact([]*jetstream.PeerInfo{peer(0, false), peer(3, true)}), "never")
	assert.EqualValues(t, 4, contact([]*jetstream.PeerInfo{peer(9, false), peer(4, false), peer(8, false), peer(1, false)}))
	assert.EqualValues(t, 5, contact([]*jetstream.PeerInfo{peer(5, false)}), "two of two")
}
