package procevent

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// golden reads the bytes of testdata/name.hex; # begins a comment.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	require.NoError(t, err)
	digits := ""
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits += strings.TrimSpace(line)
	}
	b, err := hex.DecodeString(digits)
	require.NoError(t, err)
	return b
}

// one is an event of each kind with all its fields.
func one() map[string]Event {
	comm := Event{Kind: Comm, CPU: 3, Time: 9, Pid: 5, Tgid: 6}
	comm.SetComm("a name longer than fifteen")
	return map[string]Event{
		"ack":           {Kind: Ack, CPU: 3, Time: 9, Err: 22},
		"fork":          {Kind: Fork, CPU: 3, Time: 9, ParentPid: 1, ParentTgid: 2, Pid: 5, Tgid: 6},
		"exec":          {Kind: Exec, CPU: 3, Time: 9, Pid: 5, Tgid: 6},
		"uid":           {Kind: UID, CPU: 3, Time: 9, Pid: 5, Tgid: 6, RealID: 7, EffectiveID: 8},
		"gid":           {Kind: GID, CPU: 3, Time: 9, Pid: 5, Tgid: 6, RealID: 7, EffectiveID: 8},
		"sid":           {Kind: SID, CPU: 3, Time: 9, Pid: 5, Tgid: 6},
		"ptrace":        {Kind: Ptrace, CPU: 3, Time: 9, Pid: 5, Tgid: 6, TracerPid: 7, TracerTgid: 8},
		"ptrace-detach": {Kind: Ptrace, CPU: 3, Time: 9, Pid: 5, Tgid: 6},
		"comm":          comm,
		"coredump":      {Kind: Coredump, CPU: 3, Time: 9, Pid: 5, Tgid: 6, ParentPid: 1, ParentTgid: 2},
		"exit":          {Kind: Exit, CPU: 3, Time: 9, Pid: 5, Tgid: 6, ParentPid: 1, ParentTgid: 2, ExitCode: 0x700, ExitSignal: 17},
	}
}

// plain is e without the bytes it was parsed from.
func plain(e Event) Event {
	e.raw = [Size]byte{}
	return e
}

func TestEventsSurviveBothByteOrders(t *testing.T) {
	for name, e := range one() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			b, err := e.Append([]byte("before"), order)
			require.NoError(t, err)
			require.Len(t, b, 6+Size)
			assert.Equal(t, uint32(e.Kind), order.Uint32(b[6:]), name)
			got, err := Parse(b[6:], order)
			require.NoError(t, err)
			assert.Equal(t, e, plain(got), name)
			for n := range Size {
				_, err := Parse(b[6:6+n], order)
				assert.ErrorIs(t, err, connector.ErrProtocol, "%s cut to %d", name, n)
			}
		}
	}
}

// The words of the union are where the kernel has them.
func TestLayout(t *testing.T) {
	word := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[16+4*i:]) }
	for name, want := range map[string][]uint32{
		"ack":      {22},
		"fork":     {1, 2, 5, 6},
		"exec":     {5, 6},
		"uid":      {5, 6, 7, 8},
		"gid":      {5, 6, 7, 8},
		"sid":      {5, 6},
		"ptrace":   {5, 6, 7, 8},
		"comm":     {5, 6, 'a'<<24 | ' '<<16 | 'n'<<8 | 'a'},
		"coredump": {5, 6, 1, 2},
		"exit":     {5, 6, 0x700, 17, 1, 2},
	} {
		e := one()[name]
		b, err := e.Append(nil, binary.BigEndian)
		require.NoError(t, err)
		assert.EqualValues(t, 3, binary.BigEndian.Uint32(b[4:]), name)
		assert.EqualValues(t, 9, binary.BigEndian.Uint64(b[8:]), name)
		for i, w := range want {
			assert.Equal(t, w, word(b, i), "%s word %d", name, i)
		}
	}
}

// What the kernel sent is read as what happened, and restored to the byte.
func TestGolden(t *testing.T) {
	var first Event
	for i, name := range []string{"fork", "exec", "ptrace", "ptrace-detach", "comm", "sid", "gid", "uid", "coredump", "exit"} {
		b := golden(t, name)
		e, err := Parse(b, binary.LittleEndian)
		require.NoError(t, err, name)
		if i == 0 {
			first = e
		}
		assert.Equal(t, strings.TrimSuffix(name, "-detach"), e.Kind.String())
		assert.Equal(t, first.Pid, e.Pid, name)
		assert.Equal(t, first.Pid, e.Tgid, name)
		again, err := e.Append(nil, binary.LittleEndian)
		require.NoError(t, err)
		assert.Equal(t, b, again, name)
		assert.Less(t, e.Time-first.Time, time.Minute, name)
		switch name {
		case "comm":
			assert.Equal(t, "golden", e.Comm())
		case "uid", "gid":
			assert.Equal(t, [2]uint32{65534, 65533}, [2]uint32{e.RealID, e.EffectiveID})
		case "ptrace":
			assert.Equal(t, first.ParentTgid, e.TracerTgid)
		case "ptrace-detach":
			assert.Zero(t, e.TracerPid)
		case "coredump", "exit":
			assert.Equal(t, first.ParentTgid, e.ParentTgid)
		}
		if name == "exit" {
			assert.Equal(t, 11, e.Signal())
			assert.EqualValues(t, 17, e.ExitSignal)
		}
	}
}

// A later kernel may have kinds and fields that we do not know.
func TestUnknownKindIsKept(t *testing.T) {
	b := make([]byte, Size+8)
	for i := range b {
		b[i] = byte(i)
	}
	e, err := Parse(b, binary.LittleEndian)
	require.NoError(t, err)
	assert.Equal(t, "kind-0x3020100", e.Kind.String())
	assert.Zero(t, e.Pid)
	again, err := e.Append(nil, binary.LittleEndian)
	require.NoError(t, err)
	assert.Equal(t, b[:Size], again)
	assert.True(t, Mask(0).Has(&e))
	assert.False(t, MaskOf(Exec).Has(&e))
	j, err := json.Marshal(e)
	require.NoError(t, err)
	assert.Contains(t, string(j), `"raw":"000102`)
}

func TestALossIsNoKernelEvent(t *testing.T) {
	e := Event{Kind: Lost, Count: 3}
	b, err := e.Append([]byte{1}, binary.LittleEndian)
	require.ErrorIs(t, err, connector.ErrInvalid)
	assert.Equal(t, []byte{1}, b)
}

func TestMasks(t *testing.T) {
	exit0, exit1 := Event{Kind: Exit}, Event{Kind: Exit, ExitCode: 0x100}
	for _, tt := range []struct {
		mask         Mask
		exit0, exit1 bool
	}{
		{0, true, true},
		{0x400, true, true}, // bits of no event alone are no mask, as in the kernel
		{All, true, true},
		{MaskOf(Exit), true, true},
		{MaskOf(NonzeroExit), false, true},
		{MaskOf(Exit, NonzeroExit), true, true},
		{MaskOf(Exec), false, false},
	} {
		assert.Equal(t, tt.exit0, tt.mask.Has(&exit0), "%v", tt.mask)
		assert.Equal(t, tt.exit1, tt.mask.Has(&exit1), "%v", tt.mask)
		assert.True(t, tt.mask.Has(&Event{Kind: Lost}), "a loss is always told")
	}
	for _, k := range []Kind{Fork, Exec, UID, GID, SID, Ptrace, Comm, NonzeroExit, Coredump, Exit} {
		got, err := ParseKind(k.String())
		require.NoError(t, err)
		assert.Equal(t, k, got)
		assert.Equal(t, k.String(), MaskOf(k).String())
	}
	for _, bad := range []string{"", "ack", "lost", "Exec", "kind-0x3"} {
		_, err := ParseKind(bad)
		assert.Error(t, err, bad)
	}
}

func TestJSON(t *testing.T) {
	e := one()["exec"]
	e.Info = &Info{Exe: "/bin/true", Cmdline: []string{"true"}, UID: 0, has: EnrichAll}
	for want, e := range map[string]Event{
		`{"event":"exec","pid":5,"tgid":6,"cpu":3,"seq":0,"time_ns":9,"proc":{"exe":"/bin/true","cmdline":["true"],"uid":0,"gid":0}}`: e,
		`{"event":"lost","count":3,"exact":true}`: {Kind: Lost, Count: 3, Exact: true},
		`{"event":"exit","pid":5,"tgid":6,"ppid":1,"ptgid":2,"status":7,"signal":0,"exit_code":1792,"exit_signal":17,"cpu":3,"seq":0,"time_ns":9}`: one()["exit"],
		`{"event":"uid","pid":5,"tgid":6,"real":7,"effective":8,"cpu":3,"seq":0,"time_ns":9}`:                                                      one()["uid"],
		`{"event":"ptrace","pid":5,"tgid":6,"tracer":0,"tracer_tgid":0,"cpu":3,"seq":0,"time_ns":9}`:                                               one()["ptrace-detach"],
		`{"event":"comm","pid":5,"tgid":6,"comm":"a name longer t","cpu":3,"seq":0,"time_ns":9}`:                                                   one()["comm"],
		`{"event":"ack","errno":22,"cpu":3,"seq":0,"time_ns":9}`:                                                                                   one()["ack"],
	} {
		b, err := json.Marshal(e)
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range one() {
		b, err := e.Append(nil, binary.LittleEndian)
		require.NoError(f, err)
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b, binary.BigEndian)
		if err != nil {
			require.Less(t, len(b), Size)
			return
		}
		if e.Kind == Lost {
			return
		}
		again, err := e.Append(nil, binary.BigEndian)
		require.NoError(t, err)
		require.Equal(t, b[:Size], again)
		_, err = json.Marshal(e)
		require.NoError(t, err)
	})
}

// The datagram's frame, too, is read without trust.
func FuzzDecode(f *testing.F) {
	for _, e := range one() {
		data, err := e.Append(nil, native)
		require.NoError(f, err)
		b, err := (&connector.Message{ID: ID, Data: data}).AppendNative(nil, 0)
		require.NoError(f, err)
		f.Add(b)
		f.Add(b[:40])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Event
		if e.decode(b) == nil {
			require.GreaterOrEqual(t, len(b), connector.HeaderLen+Size)
		}
	})
}
