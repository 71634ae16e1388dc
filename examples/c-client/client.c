/*
 * A client of the cnbus broker, written from docs/protocol.md alone.
 *
 *   client SOCKET listen IDX VAL N   register {IDX,VAL}, answer N messages with their data
 *                                    in capitals, and end
 *   client SOCKET call IDX VAL TEXT  call {IDX,VAL} and print the reply
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HELLO = 1, SEND = 2, ADD = 3, WELCOME = 65, MSG = 66, ACK = 67, FAIL = 68, GONE = 74, BYE = 77 };
enum { CALL = 2, REPLY = 4 };
enum { HDR = 40, NL = 36, MAX = HDR + 16 + 16384 };

struct frame { /* the fields stand in this order, without gaps */
	uint32_t len;
	uint8_t type, flags;
	uint16_t code;
	uint32_t port, group, tag, uid, gid, pid;
	uint64_t pos;
	unsigned char body[MAX - HDR];
};

struct netlink { /* the body of SEND and MSG: nlmsghdr and cn_msg */
	uint32_t nl_len;
	uint16_t nl_type, nl_flags;
	uint32_t nl_seq, nl_pid, idx, val, seq, ack;
	uint16_t len, flags;
	char data[16384 - 20];
};

static int sock;
static struct frame f;
static struct netlink m;

static void die(const char *what) { perror(what); exit(1); }

static void full(ssize_t (*io)(int, void *, size_t), void *p, size_t n)
{
	for (ssize_t k; n > 0; p = (char *)p + k, n -= k)
		if ((k = io(sock, p, n)) <= 0)
			die("connection");
}

static ssize_t put(int fd, void *p, size_t n) { return send(fd, p, n, MSG_NOSIGNAL); }

static void write_frame(int type, int flags, uint32_t port, size_t body)
{
	f.len = HDR + body;
	f.type = type, f.flags = flags, f.port = port, f.code = 0, f.group = 0;
	full(put, &f, f.len);
}

/* Reads the next frame; one after which nothing can come any more ends the program. */
static int read_frame(void)
{
	full(read, &f, HDR);
	if (f.len < HDR || f.len > MAX)
		exit(1);
	full(read, f.body, f.len - HDR);
	if (f.type == BYE || f.type == GONE || ((f.type == ACK || f.type == FAIL) && f.code != 0)) {
		fprintf(stderr, "broker: error %d: %.*s\n", f.code, f.type == BYE || f.type == ACK ? (int)(f.len - HDR) : 0, (char *)f.body);
		exit(1);
	}
	if (f.type == MSG)
		memcpy(&m, f.body, f.len - HDR);
	return f.type;
}

static void send_message(int flags, uint32_t port)
{
	m.nl_len = NL + m.len, m.nl_type = 3, m.nl_flags = 0, m.nl_seq = m.seq, m.nl_pid = 0;
	memcpy(f.body, &m, m.nl_len);
	write_frame(SEND, flags, port, m.nl_len);
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (argc != 6 || strlen(argv[1]) >= sizeof a.sun_path)
		return fprintf(stderr, "usage: client SOCKET listen|call IDX VAL N|TEXT\n"), 2;
	strcpy(a.sun_path, argv[1]);
	if ((sock = socket(AF_UNIX, SOCK_STREAM, 0)) < 0 || connect(sock, (struct sockaddr *)&a, sizeof a) < 0)
		die(argv[1]);
	uint32_t id[2] = { strtoul(argv[3], 0, 0), strtoul(argv[4], 0, 0) }, hello[2] = { 1, 0x01020304 };
	memcpy(f.body, hello, 8);
	memcpy(f.body + 8, "c-client", 8);
	write_frame(HELLO, 0, 0, 16);
	while (read_frame() != WELCOME)
		;

	if (strcmp(argv[2], "listen") == 0) {
		memcpy(f.body, id, 8);
		memcpy(f.body + 8, "capitals", 8);
		write_frame(ADD, 0, 0, 16);
		for (int n = atoi(argv[5]); n > 0;) {
			int type = read_frame();
			if (type == ACK)
				puts("registered"), fflush(stdout);
			if (type != MSG)
				continue;
			printf("from port %u, uid %u, pid %u: %.*s\n", f.port, f.uid, f.pid, m.len, m.data);
			for (int i = 0; i < m.len; i++)
				m.data[i] = toupper((unsigned char)m.data[i]);
			m.ack++; /* same seq, ack + 1: a reply */
			send_message(REPLY, f.port), n--;
		}
	} else {
		uint32_t seq = 1, ack = getpid() * 2654435761u;
		m = (struct netlink){ .idx = id[0], .val = id[1], .seq = seq, .ack = ack, .len = strlen(argv[5]) % 16000 };
		memcpy(m.data, argv[5], m.len);
		send_message(CALL, 0);
		while (read_frame() != MSG || m.seq != seq || m.ack != ack + 1)
			;
		printf("%.*s\n", m.len, m.data);
	}
	return 0;
}
