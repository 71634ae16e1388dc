/*
 * A client and a server of RxRPC that have no socket of AF_RXRPC, nor of UDP: they send messages to the RxRPC agent of the cnbus
 * broker. Written from docs/protocol.md and docs/agents-protocol.md alone; what AF_RXRPC's sendmsg() and recvmsg() have in their msghdr is in
 * the messages as it is.
 *
 *   rx BROKER call ADDRESS PORT SERVICE      sends standard input as the request, writes the reply
 *   rx BROKER serve ADDRESS PORT SERVICE N   answers N calls with their requests in capitals
 *
 * BROKER is the path of the broker's socket, ADDRESS an IPv4 address.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <linux/rxrpc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The broker's frames, and the cn_msg in those of types SEND and MSG. */
enum { HELLO = 1, SEND = 2, WELCOME = 65, MSG = 66, ACK = 67, FAIL = 68, GONE = 74, BYE = 77 };
enum { CALL = 2 };
enum { HDR = 40, NL = 36, DATA = 16384 - 20 };

struct frame {
	uint32_t len;
	uint8_t type, flags;
	uint16_t code;
	uint32_t port, group, tag, uid, gid, pid;
	uint64_t pos;
	unsigned char body[NL + DATA];
};

/* The agent's messages, in the data of a cn_msg. */
enum { OP_HELLO = 1, OP_SOCKET = 0x10, OP_BIND = 0x12, OP_LISTEN = 0x14, OP_SENDMSG = 0x19, OP_WINDOW = 0x1a };
enum { EV_MSG = 0x4001, EV_ERROR = 0x4002, EV_SENT = 0x4003, EV_CLOSED = 0x4005 };
enum { NOREPLY = 1, FURTHER = 4, REPLY = 0x8000 };

struct message {
	uint32_t nl_len;
	uint16_t nl_type, nl_flags;
	uint32_t nl_seq, nl_pid, idx, val, seq, ack;
	uint16_t len, flags;
	uint16_t op, opflags; /* from here on the data: a header */
	uint32_t sock;
	union { uint64_t arg; struct { int32_t error; uint32_t value; } done; } u;
	char body[DATA - 16];
} __attribute__((packed));

struct flat { uint16_t namelen, controllen; uint32_t flags; char rest[DATA - 24]; }; /* a flattened msghdr */

static int conn;
static struct frame f;
static struct message m;
static uint32_t sock, window;

static void die(const char *what) { perror(what); exit(1); }

static void full(ssize_t (*io)(int, void *, size_t), void *p, size_t n)
{
	for (ssize_t k; n > 0; p = (char *)p + k, n -= k)
		if ((k = io(conn, p, n)) <= 0)
			die("broker");
}

static ssize_t put(int fd, void *p, size_t n) { return send(fd, p, n, MSG_NOSIGNAL); }

static void write_frame(int type, int flags, size_t body)
{
	f.len = HDR + body, f.type = type, f.flags = flags, f.code = 0, f.port = f.group = f.tag = 0;
	full(put, &f, f.len);
}

/* Reads until there is a message of the agent, which is in m then. */
static void next(void)
{
	for (;;) {
		full(read, &f, HDR);
		if (f.len < HDR || f.len > sizeof f)
			exit(1);
		full(read, f.body, f.len - HDR);
		if (f.type == BYE || f.type == GONE || ((f.type == ACK || f.type == FAIL) && f.code))
			exit((fprintf(stderr, "broker: error %d\n", f.code), 1));
		if (f.type == WELCOME || (f.type == MSG && f.len >= HDR + NL + 16))
			break;
	}
	memset(&m, 0, NL + 16);
	memcpy(&m, f.body, f.len - HDR);
}

/* How many bytes of m.body there are. */
static size_t size(void) { return m.len - 16; }

static void send_op(int op, int flags, uint64_t arg, size_t body)
{
	static uint32_t seq;
	m.nl_type = 3, m.nl_flags = 0, m.nl_seq = m.seq = ++seq, m.nl_pid = 0, m.ack = 7, m.flags = 0;
	m.idx = 0x636e0001, m.val = 1;
	m.op = op, m.opflags = flags, m.sock = sock, m.u.arg = arg;
	m.len = 16 + body, m.nl_len = NL + m.len;
	memcpy(f.body, &m, m.nl_len);
	write_frame(SEND, flags & NOREPLY ? 0 : CALL, m.nl_len);
}

/* Makes a request and waits for its completion. Nothing else can come: no call has begun. */
static void request(int op, uint64_t arg, size_t body)
{
	send_op(op, 0, arg, body);
	do
		next();
	while (m.op != (op | REPLY));
	if (m.u.done.error)
		exit((fprintf(stderr, "agent: %s: %.*s\n", strerror(m.u.done.error), (int)size(), m.body), 1));
}

/* sendmsg(): name may be NULL; type is a control message besides the tag, with the word code if it is an abort, or 0. */
static void sendmsg_(uint64_t tag, const struct sockaddr_rxrpc *name, int type, uint32_t code, const char *data, size_t n, int flags, int first)
{
	struct flat *x = (void *)m.body;
	char *p = x->rest;
	unsigned char control[CMSG_SPACE(sizeof tag) + CMSG_SPACE(sizeof code)] = { 0 };
	struct msghdr h = { .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_RXRPC, c->cmsg_type = RXRPC_USER_CALL_ID, c->cmsg_len = CMSG_LEN(sizeof tag);
	memcpy(CMSG_DATA(c), &tag, sizeof tag);
	x->controllen = CMSG_SPACE(sizeof tag);
	if (type) {
		size_t word = type == RXRPC_ABORT ? sizeof code : 0;
		c = CMSG_NXTHDR(&h, c);
		c->cmsg_level = SOL_RXRPC, c->cmsg_type = type, c->cmsg_len = CMSG_LEN(word);
		memcpy(CMSG_DATA(c), &code, word);
		x->controllen += CMSG_SPACE(word);
	}
	x->namelen = name ? sizeof *name : 0;
	x->flags = flags;
	if (name)
		p = (char *)memcpy(p, name, sizeof *name) + sizeof *name;
	memcpy(p, control, x->controllen), p += x->controllen;
	memcpy(p, data, n), p += n;
	send_op(OP_SENDMSG, NOREPLY | (first ? 0 : FURTHER), tag, p - m.body);
}

struct received { uint64_t tag; int type, code, flags; char *data; size_t n; };

/* recvmsg(): what an EV_MSG has. */
static struct received received(void)
{
	struct flat *x = (void *)m.body;
	struct received r = { .flags = x->flags, .data = x->rest + x->namelen + x->controllen };
	char control[512];
	struct msghdr h = { .msg_control = control, .msg_controllen = x->controllen };

	if (size() < 8u + x->namelen + x->controllen || x->controllen > sizeof control)
		exit((fprintf(stderr, "agent: malformed message\n"), 1));
	r.n = size() - 8 - x->namelen - x->controllen;
	memcpy(control, x->rest + x->namelen, x->controllen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level != SOL_RXRPC)
			continue;
		if (c->cmsg_type == RXRPC_USER_CALL_ID) {
			memcpy(&r.tag, CMSG_DATA(c), sizeof r.tag);
			continue;
		}
		r.type = c->cmsg_type;
		if (c->cmsg_len >= CMSG_LEN(4))
			memcpy(&r.code, CMSG_DATA(c), 4);
	}
	return r;
}

/* Events that are not EV_MSG: how many bytes more may be sent. */
static uint32_t other_event(void)
{
	uint32_t word = 0;
	if (size() >= 4)
		memcpy(&word, m.body, 4);
	if (m.op == EV_SENT)
		return word;
	if (m.op == EV_ERROR && (word == ESHUTDOWN || word == EBADSLT))
		return 0; /* of a call that is over, which is said by its last message */
	if (m.op == EV_ERROR || m.op == EV_CLOSED)
		exit((fprintf(stderr, "agent: %s: %.*s\n", strerror(word), size() > 12 ? (int)size() - 12 : 0, m.body + 12), 1));
	return 0;
}

/* Says that the data of a call were used, so that more of it may come. */
static void used(uint64_t tag, uint32_t n)
{
	memcpy(m.body, &n, 4);
	if (n > 0)
		send_op(OP_WINDOW, NOREPLY, tag, 4);
}

static int call(const struct sockaddr_rxrpc *server)
{
	static char piece[8192];
	uint32_t room = window;
	size_t n;
	int more, first = 1;

	do { /* the request, as far as the window of the call allows it */
		while (room < sizeof piece) {
			next();
			if (m.op == EV_MSG)
				goto reply; /* it was aborted, or the server wants no more */
			room += other_event();
		}
		n = fread(piece, 1, sizeof piece, stdin);
		more = n == sizeof piece;
		sendmsg_(1, first ? server : NULL, 0, 0, piece, n, more ? MSG_MORE : 0, first);
		room -= n, first = 0;
	} while (more);
	for (;;) {
		next();
reply:
		if (m.op != EV_MSG) {
			other_event();
			continue;
		}
		struct received r = received();
		if (r.type)
			return fprintf(stderr, "call: %s, code %d\n", r.type == RXRPC_ABORT ? "aborted" : "failed", r.code), 1;
		fwrite(r.data, 1, r.n, stdout);
		if (r.flags & MSG_EOR)
			return fflush(stdout) != 0;
		used(r.tag, r.n);
	}
}

static int serve(struct sockaddr_rxrpc *local, int calls)
{
	static struct { char data[65536]; size_t n; } request_of[64];
	const uint64_t tags = sizeof request_of / sizeof *request_of;

	memcpy(m.body, local, sizeof *local);
	request(OP_BIND, 0, sizeof *local);
	memcpy(local, m.body, sizeof *local); /* with the port that it has got */
	request(OP_LISTEN, tags, 0);
	for (uint64_t tag = 0; tag < tags; tag++) /* as many calls at a time; others are told that the server is busy */
		sendmsg_(tag, NULL, RXRPC_CHARGE_ACCEPT, 0, NULL, 0, 0, 1);
	printf("port %d\n", ntohs(local->transport.sin.sin_port)), fflush(stdout);
	while (calls > 0) {
		next();
		if (m.op != EV_MSG) {
			other_event();
			continue;
		}
		struct received r = received();
		if (r.tag >= tags)
			return 1;
		char *data = request_of[r.tag].data;
		size_t *n = &request_of[r.tag].n;
		if (r.flags & MSG_EOR) { /* its final ACK, or an abort: the tag is free for another */
			*n = 0, calls -= r.type == RXRPC_ACK;
			sendmsg_(r.tag, NULL, RXRPC_CHARGE_ACCEPT, 0, NULL, 0, 0, 1);
			continue;
		}
		if (*n + r.n > sizeof request_of[0].data) {
			sendmsg_(r.tag, NULL, RXRPC_ABORT, -453, NULL, 0, 0, 0);
			continue;
		}
		for (size_t i = 0; i < r.n; i++)
			data[(*n)++] = toupper((unsigned char)r.data[i]);
		if (r.flags & MSG_MORE) {
			used(r.tag, r.n);
			continue;
		}
		for (size_t at = 0, k;; at += k) { /* within the window: requests are shorter than that */
			k = *n - at < 8192 ? *n - at : 8192;
			sendmsg_(r.tag, NULL, 0, 0, data + at, k, at + k < *n ? MSG_MORE : 0, 0);
			if (at + k == *n)
				break;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct sockaddr_rxrpc srx = { .srx_family = AF_RXRPC, .transport_type = SOCK_DGRAM, .transport_len = sizeof srx.transport.sin };
	int serving = argc == 7 && strcmp(argv[2], "serve") == 0;

	if ((argc != 6 && !serving) || strlen(argv[1]) >= sizeof a.sun_path || inet_pton(AF_INET, argv[3], &srx.transport.sin.sin_addr) != 1)
		return fprintf(stderr, "usage: rx BROKER call ADDRESS PORT SERVICE | serve ADDRESS PORT SERVICE N\n"), 2;
	srx.transport.sin.sin_family = AF_INET;
	srx.transport.sin.sin_port = htons(atoi(argv[4]));
	srx.srx_service = atoi(argv[5]);

	strcpy(a.sun_path, argv[1]);
	if ((conn = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 || connect(conn, (struct sockaddr *)&a, sizeof a) < 0)
		die(argv[1]);
	uint32_t hello[2] = { 1, 0x01020304 }, version = 1;
	memcpy(f.body, hello, 8);
	memcpy(f.body + 8, "c-rx\0\0\0", 8);
	write_frame(HELLO, 0, 16);
	next();

	memcpy(m.body, &version, 4);
	request(OP_HELLO, 0, 4);
	memcpy(&window, m.body + 24, 4);
	request(OP_SOCKET, AF_INET, 0);
	sock = m.sock;
	return serving ? serve(&srx, atoi(argv[6])) : call(&srx);
}
