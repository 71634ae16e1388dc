package main

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

func loadMessage(sender uint32, n uint64, last uint32) *connector.Event {
	b := make([]byte, markLen)
	binary.NativeEndian.PutUint32(b, sender)
	binary.NativeEndian.PutUint32(b[4:], last)
	binary.NativeEndian.PutUint64(b[8:], n)
	return &connector.Event{Kind: connector.EventMessage, Msg: connector.Message{Data: b}}
}

// The account finds what a carrier could do wrong.
func TestReceiverAccount(t *testing.T) {
	lost := func(n uint64) *connector.Event { return &connector.Event{Kind: connector.EventLost, Lost: n} }
	for _, c := range []struct {
		name   string
		events []*connector.Event
		ok     bool
	}{
		{"all came", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 1, 0), loadMessage(0, 2, 0), loadMessage(0, 3, 1)}, true},
		{"a loss was told", []*connector.Event{loadMessage(0, 0, 0), lost(2), loadMessage(0, 3, 1)}, true},
		{"a loss was not told", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 3, 1)}, false},
		{"too many were told", []*connector.Event{loadMessage(0, 0, 0), lost(3), loadMessage(0, 3, 1)}, false},
		{"one came twice", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 0, 0), lost(2), loadMessage(0, 3, 1)}, false},
		{"two changed places", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 2, 0), loadMessage(0, 1, 0), loadMessage(0, 3, 1)}, false},
		{"nobody knows how many", []*connector.Event{loadMessage(0, 0, 0), {Kind: connector.EventLost, Lost: 2, Unknown: true}, loadMessage(0, 3, 1)}, false},
		{"of a sender that is none", []*connector.Event{loadMessage(7, 0, 0), loadMessage(0, 0, 0), lost(2), loadMessage(0, 3, 1)}, false},
		{"too short", []*connector.Event{{Kind: connector.EventMessage}, loadMessage(0, 0, 0), lost(2), loadMessage(0, 3, 1)}, false},
	} {
		r := newLoadReceiver(nil, 1, false)
		for _, ev := range c.events {
			r.take(ev)
		}
		assert.Equal(t, 1, r.finished, c.name)
		assert.Equal(t, c.ok, r.balanced(4), c.name)
	}
}

// On a site a mark may come before what was sent ahead of it; the account is closed when all that it speaks of has come or was told.
func TestReceiverAccountOfASite(t *testing.T) {
	lost := func(n uint64) *connector.Event { return &connector.Event{Kind: connector.EventLost, Lost: n} }
	begin := loadMessage(0, 0, markBegin)
	for _, c := range []struct {
		name         string
		events       []*connector.Event
		complete, ok bool
	}{
		{"all came", []*connector.Event{begin, loadMessage(0, 0, 0), loadMessage(0, 1, 0), loadMessage(0, 2, 0), loadMessage(0, 3, 1)}, true, true},
		{"the mark was first", []*connector.Event{begin, loadMessage(0, 3, 1), loadMessage(0, 0, 0), loadMessage(0, 1, 0), loadMessage(0, 2, 0)}, true, true},
		{"the end is told later", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 3, 1), lost(2)}, true, true},
		{"the end is not told yet", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 3, 1)}, false, false},
		{"a begin counts nothing", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 3, 1), begin, begin}, false, false},
		{"too many were told", []*connector.Event{loadMessage(0, 3, 1), loadMessage(0, 0, 0), loadMessage(0, 1, 0), lost(2)}, true, false},
		{"the mark came twice", []*connector.Event{loadMessage(0, 0, 0), loadMessage(0, 3, 1), loadMessage(0, 3, 1), lost(2)}, true, false},
		{"one is behind the last", []*connector.Event{loadMessage(0, 3, 1), loadMessage(0, 4, 0), lost(3)}, true, false},
		{"two changed places", []*connector.Event{loadMessage(0, 3, 1), loadMessage(0, 1, 0), loadMessage(0, 0, 0), loadMessage(0, 2, 0), lost(1)}, true, false},
	} {
		r := newLoadReceiver(nil, 1, false)
		r.site = true
		for _, ev := range c.events {
			r.take(ev)
		}
		assert.Equal(t, c.complete, r.complete(), c.name)
		assert.Equal(t, c.ok, r.balanced(4), c.name)
	}
}

// The account of a way between two hosts.
func TestPathAccount(t *testing.T) {
	for _, c := range []struct {
		sent, delivered, lost, wrong uint64
		ok                           bool
	}{{5, 5, 0, 0, true}, {5, 3, 2, 0, true}, {5, 4, 0, 0, false}, {5, 5, 1, 0, false}, {5, 5, 0, 1, false}} {
		p := &path{sent: c.sent}
		p.delivered.Store(c.delivered)
		p.lost.Store(c.lost)
		p.wrong.Store(c.wrong)
		assert.Equal(t, c.ok, p.line().OK, "%+v", c)
	}
}

// The line of ucon.c.
func TestUconLine(t *testing.T) {
	m := connector.Message{ID: cbid.Make(0x123, 0x457), Seq: 17, Data: []byte("counter = 17\x00")}
	at := time.Date(2005, 9, 3, 7, 5, 9, 0, time.UTC)
	assert.Equal(t, "Sat Sep  3 07:05:09 2005 : [123.457] [00000017.00000000]  counter = 17", uconLine(&m, at))
}

// cn_test_want_notify: one range of idx, two of val.
func TestWantNotify(t *testing.T) {
	c := wantNotify(cbid.Make(0x123, 0x456), 9)
	b, err := c.Append(nil, binary.LittleEndian)
	assert.NoError(t, err)
	assert.Equal(t, []byte{
		1, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 24, 0, 0, 0,
		0x23, 1, 0, 0, 10, 0, 0, 0, 0x56, 4, 0, 0, 10, 0, 0, 0, 0x6a, 4, 0, 0, 10, 0, 0, 0,
	}, b)
}
