package natsbridge

import (
	"context"
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// TestBadInput: what strangers publish on the subjects of a site, through a real server, is refused with its reason, and the hosts go on.
func TestBadInput(t *testing.T) {
	e := startServer(t)
	a, b := startHost(t, config(e, 1), 0), startHost(t, config(e, 2), 0)
	defer a.stop()
	defer b.stop()
	nc := connectTo(t, e)
	x := stranger{h: packetHeader{host: 77, run: 99}, session: 1}
	another := func(n uint16) *stranger { return &stranger{h: packetHeader{host: n, run: 99}, session: 1} }
	packet := func(change func(b []byte)) []byte {
		p := x.link(1, hello())
		change(p)
		return p
	}
	for _, c := range []struct {
		name string
		b    []byte
		why  error
	}{
		{"foreign traffic", []byte("GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: somebody who is lost\r\n\r\n"), errMagic},
		{"nothing", nil, errShortPacket},
		{"wrong version", packet(func(b []byte) { b[4] = wireVersion + 1 }), errVersion},
		{"wrong endianness", packet(func(b []byte) {
			binary.BigEndian.PutUint32(b, wireMagic)
			binary.BigEndian.PutUint16(b[6:], 77)
		}), errMagic},
		{"oversized", packet(func(b []byte) {}), nil}, // made longer below
		{"no such host", packet(func(b []byte) { le.PutUint16(b[6:], connector.MaxHost+1) }), errHost},
		{"in the name of another host", another(78).link(1, appendHello(nil, "host2")), errName},
		{"a record that ends elsewhere", append(another(79).link(1, appendHello(nil, "trent")), 200, 0, 0, 0, 1, 0, 0, 0), errRecord},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.why == nil {
				c.why = errRecord
				c.b = append(c.b, make([]byte, int(nc.MaxPayload())-len(c.b))...) // as long as the server lets it be
			}
			for _, to := range []*host{a, b} {
				if err := nc.Publish("cnbus.main.h."+strconv.FormatUint(uint64(to.bridge.Number()), 10), c.b); err != nil {
					require.ErrorIs(t, err, nats.ErrMaxPayload)
				}
				require.Eventually(t, func() bool {
					said := false
					to.bridge.on(t, func() {
						said = to.bridge.core.refused[c.why.Error()] != nil
						delete(to.bridge.core.refused, c.why.Error())
					})
					return said
				}, 2*time.Minute, 10*time.Millisecond)
			}
		})
	}
	sees(t, a, b, true)
	rows, err := a.bridge.Hosts(t.Context())
	require.NoError(t, err)
	assert.Positive(t, rows[0].Refused, "and 'cnbus hosts' counts it")
}

// TestTwoHostsWithOneName: the second is told so, and neither the first nor a third is harmed.
func TestTwoHostsWithOneName(t *testing.T) {
	e := startServer(t)
	a, b := startHost(t, config(e, 1), 0), startHost(t, config(e, 2), 0)
	defer a.stop()
	defer b.stop()
	dir := t.TempDir()
	second, err := broker.New(&broker.Config{Socket: dir + "/s", HistoryDir: "-", Log: quiet, Drain: time.Second})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- second.Serve(ctx) }()
	_, err = Join(soon(t), second, config(e, 1))
	require.ErrorIs(t, err, connector.ErrDuplicate)
	assert.ErrorContains(t, err, "a host named host1 has joined the site already")
	h := &host{path: dir + "/s", broker: second}
	h.works(t, cbid.Make(0x300, 1))
	sees(t, a, b, true)
	stop()
	assert.NoError(t, <-served)
}

// TestNoWallClockPlaysAPart: hosts whose clocks are an hour apart are as others (TestClocksPlayNoPart has them); here is why: nothing in
// the package asks what time it is, but for how long something takes.
func TestNoWallClockPlaysAPart(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	wall := map[string]bool{
		"Unix": true, "UnixNano": true, "UnixMilli": true, "UnixMicro": true, "Date": true, "Clock": true, "Format": true, "AppendFormat": true, "MarshalBinary": true, "Round": true, "UTC": true, "Local": true,
	}
	asked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if p, ok := sel.X.(*ast.Ident); ok && p.Name == "time" && sel.Sel.Name == "Now" {
				asked++
			}
			if call, ok := sel.X.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Now" {
					assert.False(t, wall[sel.Sel.Name], "time.Now().%s", sel.Sel.Name)
				}
			}
			if v, ok := sel.X.(*ast.Ident); ok && (v.Name == "began" || v.Name == "end") {
				assert.False(t, wall[sel.Sel.Name], "%s.%s", v.Name, sel.Sel.Name)
			}
			return true
		})
	}
	assert.Positive(t, asked)
}
