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
// # The reactor
//
// A Loop runs callbacks on one goroutine, as tevent does: those of the requests of attached
// sockets, posted functions, timers, and handlers that are told when a socket is ready. It is the
// cheapest way to run many sockets.
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
// A pair of _send and _recv is one operation with two faces.
//
//	tsocket_address                               Addr, a value; the zero Addr is NULL
//	tsocket_address_string                        Addr.String
//	tsocket_address_copy                          assignment; == compares
//	tsocket_address_is_inet                       Addr.IsInet
//	tsocket_address_is_unix                       Addr.IsUnix
//	tsocket_address_inet_from_strings             ParseIP, ParseIPCompat
//	tsocket_address_inet_from_hostport_strings    ParseHostPort, ParseHostPortCompat
//	tsocket_address_inet_addr_string              Addr.IPString, Addr.IP
//	tsocket_address_inet_port                     Addr.Port
//	tsocket_address_inet_set_port                 Addr.WithPort
//	tsocket_address_unix_from_path                UnixAddr, AbstractAddr
//	tsocket_address_unix_path                     Addr.Path, Addr.Abstract
//	tsocket_address_bsd_from_sockaddr             AddrFromRaw, AddrFromSockaddr
//	tsocket_address_bsd_from_samba_sockaddr       AddrFrom, AddrFromNet
//	tsocket_address_bsd_sockaddr                  Addr.AppendRaw, Addr.Sockaddr, Addr.AddrPort, Addr.NetAddr
//
//	tdgram_context                                Dgram
//	tdgram_context_create, tdgram_context_ops     NewDgram, DgramOps
//	tdgram_recvfrom_send, _recv                   Dgram.RecvFrom, Dgram.RecvFromSend; Dgram.RecvBatch
//	tdgram_sendto_send, _recv                     Dgram.SendTo, Dgram.SendToSend; Dgram.SendBatch
//	tdgram_disconnect_send, _recv                 Dgram.Disconnect, Dgram.DisconnectSend
//	talloc_free of a tdgram_context               Dgram.Close
//	tdgram_inet_udp_socket                        UDP
//	tdgram_inet_udp_broadcast_socket              UDPBroadcast
//	tdgram_unix_socket                            UnixDgram, UnixDgramPair
//	tdgram_bsd_existing_socket                    DgramFromFD, FromPacketConn
//	tdgram_bsd_optimize_recvfrom                  Dgram.SetTryFirst
//
//	tstream_context                               Stream
//	tstream_context_create, tstream_context_ops   NewStream, StreamOps
//	tstream_context_data                          Stream.Ops
//	tstream_pending_bytes                         Stream.PendingBytes
//	tstream_readv_send, _recv                     Stream.Readv, Stream.ReadvSend; Stream.ReadSome
//	tstream_writev_send, _recv                    Stream.Writev, Stream.WritevSend; Stream.CloseWrite
//	tstream_disconnect_send, _recv                Stream.Disconnect, Stream.DisconnectSend
//	tstream_monitor_send, _recv                   Stream.Monitor, Stream.MonitorSend
//	talloc_free of a tstream_context              Stream.Close
//	tstream_bsd_existing_socket                   StreamFromFD, FromNetConn
//	tstream_bsd_optimize_readv                    Stream.SetTryFirst; Stream.TryRead, Stream.TryWrite
//	tstream_bsd_fail_readv_first_error            Stream.SetFailEarly
//	tstream_inet_tcp_connect_send, _recv          DialTCP, DialTCPSend; ListenTCP
//	tstream_unix_connect_send, _recv              DialUnix, DialUnixSend; ListenUnix
//	tstream_unix_socketpair                       SocketPair
//
//	tstream_readv_pdu_next_vector_t               NextVector
//	tstream_readv_pdu_send, _recv                 Stream.ReadPDU, Stream.ReadPDUSend; PDUReader
//	tstream_read_pdu_blob_send, _recv             ReadBlob, ReadBlobSend
//	tstream_read_packet_send, _recv               ReadBlob, ReadBlobSend
//	tstream_full_request_u16,
//	tstream_full_request_u32                      U16Full, U32Full
//	tstream_u32_read_send, _recv                  ReadU32PDU, ReadU32PDUSend; ReadU16PDU
//
//	tevent_queue_create                           NewQueue
//	tevent_queue_add, tevent_queue_add_entry      Queue.Add
//	tevent_queue_add_optimize_empty               Queue.Do
//	talloc_free of a tevent_queue_entry           Entry.Remove
//	tevent_queue_stop, tevent_queue_start         Queue.Stop, Queue.Start
//	tevent_queue_length, tevent_queue_running     Queue.Len, Queue.Running
//	tevent_queue_wait_send, _recv                 Queue.Wait, Queue.WaitSend
//	talloc_free of a tevent_queue                 Queue.Close
//	tstream_writev_queue_send, _recv              Queue.Writev, Queue.WritevSend
//	tstream_readv_pdu_queue_send, _recv           Queue.ReadPDU, Queue.ReadPDUSend
//	tdgram_sendto_queue_send, _recv               Queue.SendTo, Queue.SendToSend
//
//	tevent_req                                    Request
//	tevent_req_create                             Go
//	tevent_req_set_callback                       Request.OnDone
//	tevent_req_poll                               Request.Wait, Request.Done
//	tevent_req_is_in_progress                     Request.InProgress
//	tevent_req_set_endtime                        Request.SetDeadline, or the deadline of the context
//	tevent_req_cancel,
//	talloc_free of a tevent_req                   Request.Cancel
//	..._recv                                      Request.Result
//
//	tevent_context_init                           NewLoop, where one is wanted
//	tevent_loop_wait                              Loop.Run
//	tevent_add_fd                                 Loop.Watch
//	tevent_add_timer                              Loop.AfterFunc
//	tevent_schedule_immediate                     Loop.Post
//
//	tstream_tls_connect_send, _recv               tlsstream.Client, tlsstream.ClientSend
//	tstream_tls_accept_send, _recv                tlsstream.Server, tlsstream.ServerSend
//	tstream_tls_params_client,
//	tstream_tls_params_server                     tlsstream.Config
//	tstream_tls_channel_bindings                  tlsstream.ChannelBinding
//	tstream_npa_connect_send, _recv               npa.Connect, npa.ConnectSend
//	tstream_npa_accept_existing_send, _recv       npa.Accept, npa.AcceptSend
//	tstream_npa_existing_socket,
//	tstream_npa_existing_stream                   npa.Wrap
//
//	tevent_context_init, tevent_loop_wait    NewLoop, Loop.Run
//	tevent_add_fd, _add_timer                Loop.Watch, Loop.AfterFunc
//	tevent_schedule_immediate                Loop.Post
//
// # Systems
//
// All of it is for Linux. On other systems with sockets batches are single calls, notices and path
// MTUs are not to be had (ErrNotSupported), and nobody learns that a peer has gone but by reading
// or writing.
package tsocket
