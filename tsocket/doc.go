// Package tsocket offers asynchronous sockets with exact behaviour: streams and
// datagram sockets with at most one operation outstanding in each direction, and requests that
// can be waited for, called back, given a deadline and cancelled. It is Samba's abstraction of the
// same name as a Go programmer would want to find it; what differs, and why, is in docs/tsocket.md.
//
// # What it promises
//
// One read, one write, one monitor and one disconnect of a Stream may be outstanding at a time,
// and one receive, one send and one disconnect of a Dgram. Another one of the same direction fails with
// ErrBusy and disturbs nothing; a Queue puts them in line instead. Everything may be called
// from any goroutine.
//
// Each operation has two faces. The blocking method runs on the caller's goroutine until it is
// done or its context ends; it starts no goroutine and, in steady state, allocates nothing. The
// method whose name ends in Send returns a Request at once. It tries the system call first; if
// that would wait, whoever calls Request.Wait runs the operation, and OnDone and Done (or some
// milliseconds in which nobody waited) start a goroutine for it.
//
// A request is finished exactly once. Its callback never runs inside the call that made it,
// and the slot of the operation is free when it runs: it may start the next one. Close finishes whatever is
// outstanding with ErrClosed, and does not wait for callbacks: it may be called from one.
//
// The buffers of an operation belong to it until it has returned, or its request is finished.
//
// A read fills all its vectors (ReadSome takes what is there), a write writes all of them. An
// operation of a stream that is stopped after it has moved some bytes leaves nobody knowing
// where the next message begins: its error says how many they were, and its direction is
// unusable from there (SetCancelRule knows two other ways). The first error of a stream is the
// error of all later operations in both directions, and so is the end of what the peer writes;
// SetHalfOpen keeps the directions apart. An error of a datagram socket is that of one operation. No
// datagram is cut off, and one without data is one.
//
// What a PDUReader reads ahead belongs to the stream: any other read gets it.
//
// # Errors
//
// Every error is an *OpError. errors.Is finds the errno that C gives and Go's name for it:
// EPIPE and io.EOF for the end of a stream at the boundary of a read, EPIPE and
// io.ErrUnexpectedEOF for one inside, ETIMEDOUT and os.ErrDeadlineExceeded, ECANCELED and
// context.Canceled, ENOTCONN and net.ErrClosed. Errno returns the errno alone.
//
// # From C to Go
//
//	tsocket_address                          Addr, a value; the zero Addr is NULL
//	tsocket_address_string, _copy            Addr.String, assignment
//	_inet_from_strings                       ParseIP, ParseIPCompat
//	_inet_from_hostport_strings              ParseHostPort, ParseHostPortCompat
//	_unix_from_path                          UnixAddr; AbstractAddr
//	_is_inet, _is_unix                       Addr.IsInet, Addr.IsUnix
//	_inet_addr_string, _inet_port, _unix_path  Addr.IPString, Addr.Port, Addr.Path
//	_inet_set_port                           Addr.WithPort
//	_bsd_from_sockaddr, _bsd_sockaddr        AddrFromRaw, AddrFromSockaddr, AddrFrom, AddrFromNet;
//	                                         Addr.AppendRaw, Sockaddr, AddrPort, NetAddr
//
//	tdgram_context, its ops                  Dgram, DgramOps with NewDgram
//	tdgram_recvfrom_send/_recv               Dgram.RecvFrom, RecvFromSend; RecvBatch
//	tdgram_sendto_send/_recv                 Dgram.SendTo, SendToSend; SendBatch
//	tdgram_disconnect_send/_recv             Dgram.Disconnect, DisconnectSend
//	talloc_free(dgram)                       Dgram.Close
//	tdgram_inet_udp_socket, _udp_broadcast_socket   UDP, UDPBroadcast
//	tdgram_unix_socket                       UnixDgram; UnixDgramPair
//	tdgram_bsd_existing_socket               DgramFromFD
//	tdgram_bsd_optimize_recvfrom             Dgram.SetTryFirst
//
//	tstream_context, its ops                 Stream, StreamOps with NewStream, Stream.Ops
//	tstream_pending_bytes                    Stream.PendingBytes
//	tstream_readv_send/_recv                 Stream.Readv, ReadvSend; ReadSome, ReadSomeSend
//	tstream_writev_send/_recv                Stream.Writev, WritevSend; CloseWrite
//	tstream_disconnect_send/_recv            Stream.Disconnect, DisconnectSend
//	tstream_monitor_send/_recv               Stream.Monitor, MonitorSend
//	talloc_free(stream)                      Stream.Close
//	tstream_bsd_optimize_readv               Stream.SetTryFirst; TryRead, TryWrite
//	tstream_bsd_fail_readv_first_error       Stream.SetFailEarly
//	tstream_inet_tcp_connect_send/_recv      DialTCP, DialTCPSend; ListenTCP
//	tstream_unix_connect_send/_recv          DialUnix, DialUnixSend; ListenUnix
//	tstream_unix_socketpair                  SocketPair
//	tstream_bsd_existing_socket              StreamFromFD
//
//	tstream_readv_pdu_send/_recv             Stream.ReadPDU, ReadPDUSend; PDUReader
//	tstream_read_pdu_blob_send/_recv         ReadBlob, ReadBlobSend
//	tstream_full_request_u16, _u32           U16Full, U32Full
//	tstream_u32_read_send/_recv              ReadU32PDU, ReadU32PDUSend
//
//	tevent_queue_create, _stop, _start       NewQueue, Queue.Stop, Start
//	tevent_queue_length, _running            Queue.Len, Running
//	tevent_queue_add_entry, talloc_free(entry)  Queue.Add, Entry.Remove
//	tevent_queue_wait_send/_recv             Queue.Wait, WaitSend
//	tstream_writev_queue_send/_recv          Queue.Writev, WritevSend
//	tstream_readv_pdu_queue_send/_recv       Queue.ReadPDU, ReadPDUSend
//	tdgram_sendto_queue_send/_recv           Queue.SendTo, SendToSend
//
//	tevent_req_set_callback                  Request.OnDone
//	tevent_req_poll                          Request.Wait, Done
//	tevent_req_is_in_progress                Request.InProgress
//	tevent_req_set_endtime                   Request.SetDeadline, or the context
//	talloc_free(req), tevent_req_cancel      Request.Cancel
//	..._recv                                 Request.Result
//
// # Systems
//
// All of it is for Linux. On other systems with sockets batches are single calls, notices and path
// MTUs are not to be had (ErrNotSupported), and nobody learns that a peer has gone but by reading
// or writing.
package tsocket
