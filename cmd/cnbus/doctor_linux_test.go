package main

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
	"github.com/cnbus/cnbus/connector/procevent"
)

// Each state of the kernel's count of listeners, which a test must not change for the
// whole machine, is told as what it is.
func TestDoctorListeners(t *testing.T) {
	for _, c := range []struct {
		name   string
		events int
		others int
		ack    bool
		status status
		text   string
	}{
		{"nobody listens", 0, 0, true, statusOK, "no other sockets"},
		{"somebody listens", 3, 1, true, statusOK, "1 other socket"},
		{"leaked", 3, 0, true, statusWarn, "although nobody listens"},
		{"below zero", 0, 0, false, statusFail, "below zero"},
		{"lowered while others listen", 0, 2, false, statusFail, "somebody lowered its count"},
	} {
		r := &report{}
		checkCount(r, seen{events: c.events}, c.others, c.ack)
		require.Len(t, r.findings, 1, c.name)
		assert.Equal(t, c.status, r.findings[0].Status, c.name)
		assert.Contains(t, r.findings[0].Text, c.text, c.name)
		assert.Equal(t, c.status != statusOK, r.findings[0].Advice != "", c.name)
	}
}

// What the kernel did not send is counted, not believed: its source says so, whatever the
// message says of itself.
func TestDoctorForgers(t *testing.T) {
	e := procevent.Event{Kind: procevent.Exit, Pid: 7, Tgid: 7}
	data, err := e.Append(nil, binary.NativeEndian)
	require.NoError(t, err)
	m := connector.Message{ID: procevent.ID, Data: data}
	frame, err := m.AppendNative(nil, 0)
	require.NoError(t, err)

	p := &kernelProbe{}
	_, _, ok := p.accept(&nlconn.Datagram{Data: frame})
	assert.True(t, ok, "the kernel's")
	r := &report{}
	checkForged(r, p)
	assert.Equal(t, statusOK, r.findings[0].Status)

	_, _, ok = p.accept(&nlconn.Datagram{Data: frame, Port: 4021, HasCred: true, Cred: connector.Cred{PID: 99}})
	assert.False(t, ok)
	_, _, ok = p.accept(&nlconn.Datagram{Data: frame[:20]})
	assert.False(t, ok)
	assert.Equal(t, 1, p.total.events)
	r = &report{}
	checkForged(r, p)
	assert.Equal(t, statusWarn, r.findings[0].Status)
	assert.Contains(t, r.findings[0].Text, "1 event did not come from the kernel but from port 4021 (pid 99)")
}
