package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/client"
)

// Of LINKTYPE_NETLINK, tcpdump.org/linktypes/LINKTYPE_NETLINK.html: 16 bytes in network
// order (unused, ARPHRD type, 10 unused, protocol) before the netlink message.
const (
	linkTypeNetlink  = layers.LinkType(253)
	cookedLen        = 16
	arphrdNetlink    = 824
	netlinkConnector = 11 // NETLINK_CONNECTOR
)

// pcapSink writes pcapng. Each packet has a comment that says what netlink
// bytes cannot: ports, credentials, result.
type pcapSink struct {
	w      io.WriteCloser
	ng     *pcapgo.NgWriter
	buf    []byte
	unseen uint64 // since the last packet
}

func newPcapSink(w io.WriteCloser) (*pcapSink, error) {
	intf := pcapgo.NgInterface{
		Name: "cnbus", Description: "messages on a connector bus", LinkType: linkTypeNetlink, OS: runtime.GOOS, TimestampResolution: 9,
	}
	opts := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "cnbus " + cli.Version(),
	}}
	ng, err := pcapgo.NewNgWriterInterface(w, intf, opts)
	if err != nil {
		w.Close()
		return nil, err
	}
	return &pcapSink{w: w, ng: ng}, ng.Flush()
}

// cooked appends the header of the link type.
func cooked(b []byte) []byte {
	var h [cookedLen]byte
	binary.BigEndian.PutUint16(h[2:], arphrdNetlink)
	binary.BigEndian.PutUint16(h[14:], netlinkConnector)
	return append(b, h[:]...)
}

func (p *pcapSink) lost(n uint64, _ bool) error {
	p.unseen += n
	return nil
}

func (p *pcapSink) message(ev *client.MonEvent) error {
	p.buf = append(cooked(p.buf[:0]), ev.Raw...)
	opts := pcapgo.NgPacketOptions{Comments: []string{comment(ev)}}
	if p.unseen > 0 {
		opts.DropCount = &p.unseen
	}
	ci := gopacket.CaptureInfo{Timestamp: ev.Time, CaptureLength: len(p.buf), Length: len(p.buf)}
	if err := p.ng.WritePacketWithOptions(ci, p.buf, opts); err != nil {
		return err
	}
	p.unseen = 0
	return p.ng.Flush() // who looks on in Wireshark wants to see it now
}

func comment(ev *client.MonEvent) string {
	to := "callback"
	switch {
	case ev.DestPort != 0:
		to = fmt.Sprintf("port %d", ev.DestPort)
	case ev.From.Group != 0:
		to = fmt.Sprintf("group %d", ev.From.Group)
	}
	c := ev.From.Cred
	return strings.Join([]string{
		how(ev), cli.ID(ev.Msg.ID), fmt.Sprintf("port %d (uid %d gid %d pid %d) to %s", ev.From.Port, c.UID, c.GID, c.PID, to), result(ev),
	}, "; ")
}

func (p *pcapSink) close() error { return errors.Join(p.ng.Flush(), p.w.Close()) }
