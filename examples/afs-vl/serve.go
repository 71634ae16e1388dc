package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
)

// serve serves until ctx ends.
func serve(ctx context.Context, out io.Writer, addr netip.Addr) error {
	vote := (&afs.Vote{Addr: addr, Start: time.Now()}).Service()
	bozo := &afs.BOZO{Cell: "example.org", Processes: []afs.Process{
		{Name: "vlserver", Status: status(), Parms: []string{"afs-vl serve"}},
		{Name: "ptserver", Status: status(), Parms: []string{"afs-vl serve"}},
	}}
	bozo.SetFile("/log", []byte("All is well.\n"))
	ports := map[uint16][]*afs.Service{
		afs.VLPort:   {volumes(addr).Service(), vote},
		afs.PRPort:   {afs.NewPRDB().Service(), vote},
		afs.BOZOPort: {bozo.Service()},
	}
	var stops []func() error
	defer func() {
		for _, stop := range stops {
			_ = stop()
		}
	}()
	for port, services := range ports {
		e, err := rxrpc.Open(netip.AddrPortFrom(addr, port), nil)
		if err != nil {
			return err
		}
		s := rxrpc.NewServer(e, nil)
		stops = append(stops, func() error { return errors.Join(s.Close(), e.Close()) })
		for _, service := range services {
			if err := s.Handle(service.ID, afsrx.Handler(service)); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(out, "serving VL, PR and BOZO at %v\n", addr)
	<-ctx.Done()
	return nil
}

func status() afs.ProcessStatus {
	return afs.ProcessStatus{Goal: afs.Running, FileGoal: afs.Running, Started: int32(time.Now().Unix()), Starts: 1}
}

// volumes are three for show, on one file server.
func volumes(addr netip.Addr) *afs.VLDB {
	const both = afs.HasReadWrite | afs.HasReadOnly
	here := afs.Site{Flags: afs.SiteReadWrite}
	return &afs.VLDB{
		Servers: []afs.Server{{UUID: [16]byte{0: 0xc0, 8: 0x80, 15: 1}, Unique: 1, Addrs: []netip.Addr{addr}}},
		Volumes: []afs.Volume{
			{Name: "root.afs", ID: [3]uint32{536870912, 536870913, 536870914}, Flags: both, Sites: []afs.Site{here, {Flags: afs.SiteReadOnly}}},
			{Name: "root.cell", ID: [3]uint32{536870915, 536870916, 536870917}, Flags: both, Sites: []afs.Site{here, {Flags: afs.SiteReadOnly}}},
			{Name: "user.joe", ID: [3]uint32{536870918, 536870919, 536870920}, Sites: []afs.Site{{Partition: 1, Flags: afs.SiteReadWrite}}},
		},
	}
}
