/*
 * rxpeer: an Rx client and server on OpenAFS's own librx/librxkad, to test another Rx
 * implementation against.
 *
 *   rxpeer server  [options]
 *   rxpeer client  [options] COMMAND [ARGS]
 *   rxpeer ticket  [options]              print a ticket and session key in hex
 *
 * Run without arguments for the options.
 */
#include <afs/param.h>
#include <afs/stds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <signal.h>
#include <pthread.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <rx/xdr.h>
#include <rx/rx.h>
#include <rx/rx_globals.h>
#include <rx/rxkad.h>
#include "rxp.h"

#define SERVICE 4242
#define SECNULL 0
#define SECKAD 2

/* ---------------------------------------------------------------- options */

static struct {
    const char *host;
    unsigned addr;		/* network order */
    int port, service;
    int level;			/* -1 null, else rxkad level */
    int minlevel;		/* server: lowest rxkad level taken; -2: no rxkad class */
    int nonull;			/* server: no rxnull class */
    unsigned char key[8];	/* service DES key */
    int kvno;
    unsigned char k5key[64];
    int k5len, k5type, k5;
    unsigned char session[8];
    int havesession;
    const char *name, *inst, *cell;
    unsigned start, end;
    int procs, threads, conns, streams, secs, size, window, mtu, nojumbo, udpbuf;
    long long bytes;
    int fresh;			/* calls: each on a connection of its own */
    int verify, verbose, reach, dead, idle, stats, dropsend, droprecv;
    unsigned seed;
} o = {
    .host = "127.0.0.1", .port = 7900, .service = SERVICE, .level = -1,
    .key = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, .kvno = 3,
    .k5type = 18, .name = "tester", .inst = "", .cell = "",
    .end = 0xffffffff, .procs = 80, .threads = 1, .conns = 0, .streams = 1,
    .secs = 3, .size = 4, .bytes = 64 << 20, .seed = 1,
};

static void
die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("rxpeer: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

static int
unhex(const char *s, unsigned char *out, int max)
{
    int n = 0;
    unsigned v;
    while (*s) {
	if (*s == ' ' || *s == ':') { s++; continue; }
	if (n == max || sscanf(s, "%2x", &v) != 1 || !s[1])
	    die("bad hex '%s'", s);
	out[n++] = v;
	s += 2;
    }
    return n;
}

static void
hexout(const char *label, const void *p, size_t n)
{
    const unsigned char *b = p;
    printf("%s", label);
    for (size_t i = 0; i < n; i++)
	printf("%02x", b[i]);
    putchar('\n');
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---------------------------------------------------------------- the byte pattern of the bulk calls */

/*
 * A stream of seed s is made of 65536-byte blocks. Bytes 0..7 of block n are n, big endian; byte k >= 8
 * is (s + 31 k + 7 (k >> 8)) mod 256. The last block may be cut short.
 */
#define BLOCK 65536

static void
number(char *b, unsigned long long n)
{
    for (int i = 7; i >= 0; i--, n >>= 8)
	b[i] = n & 255;
}

static char *
block(unsigned seed)
{
    char *b = calloc(1, BLOCK);
    for (int k = 8; k < BLOCK; k++)
	b[k] = (char)(seed + 31 * k + 7 * (k >> 8));
    return b;
}

/* Writes n pattern bytes. 0 or an Rx error. */
static int
put(struct rx_call *call, unsigned long long n, unsigned seed)
{
    char *b = block(seed);
    unsigned long long off = 0;
    while (off < n) {
	int k = n - off < BLOCK ? (int)(n - off) : BLOCK;
	number(b, off / BLOCK);
	if (rx_Write(call, b, k) != k) {
	    free(b);
	    return rx_Error(call) ? rx_Error(call) : -101;	/* short write, no error */
	}
	off += k;
    }
    free(b);
    return 0;
}

/* Reads n bytes; with verify, counts the blocks that are not the pattern. 0 or an Rx error. */
static int
get(struct rx_call *call, unsigned long long n, unsigned seed, int verify,
    unsigned long long *got, unsigned long long *bad)
{
    char *b = malloc(BLOCK), *want = block(seed);
    int code = 0;
    *got = *bad = 0;
    while (*got < n && !code) {
	int k = n - *got < BLOCK ? (int)(n - *got) : BLOCK;
	int r = rx_Read(call, b, k);
	if (verify) {
	    number(want, *got / BLOCK);
	    *bad += memcmp(b, want, r) != 0;
	}
	*got += r;
	if (r != k)
	    code = rx_Error(call) ? rx_Error(call) : -102;	/* short read, no error */
    }
    free(b);
    free(want);
    return code;
}

/* ---------------------------------------------------------------- server */

afs_int32
SRXP_Nop(struct rx_call *c, afs_uint32 x, afs_uint32 *y)
{
    *y = x + 1;
    return 0;
}

afs_int32
SRXP_Echo(struct rx_call *c, RxpData *in, RxpData *out)
{
    out->RxpData_len = in->RxpData_len;
    out->RxpData_val = malloc(in->RxpData_len ? in->RxpData_len : 1);
    memcpy(out->RxpData_val, in->RxpData_val, in->RxpData_len);
    return 0;
}

afs_int32
SRXP_Sink(struct rx_call *c, afs_uint64 n, afs_uint32 flags, afs_uint32 seed,
	  afs_uint64 *got, afs_uint64 *bad)
{
    unsigned long long g, b;
    int code = get(c, n, seed, flags & 1, &g, &b);
    *got = g;
    *bad = b;
    return code;
}

afs_int32
SRXP_Source(struct rx_call *c, afs_uint64 n, afs_uint32 seed, afs_uint64 *sent)
{
    *sent = n;
    return put(c, n, seed);
}

afs_int32
SRXP_Fail(struct rx_call *c, afs_int32 code)
{
    return code;
}

afs_int32
SRXP_Delay(struct rx_call *c, afs_uint32 ms, afs_uint32 *slept)
{
    usleep(ms * 1000);
    *slept = ms;
    return 0;
}

afs_int32
SRXP_WhoAmI(struct rx_call *call, RxpWho *w)
{
    struct rx_connection *conn = rx_ConnectionOf(call);
    char name[MAXKTCNAMELEN] = "", inst[MAXKTCNAMELEN] = "", cell[MAXKTCREALMLEN] = "";
    rxkad_level level = -1;
    afs_uint32 expires = 0;
    afs_int32 kvno = 0;

    w->secindex = rx_SecurityClassOf(conn);
    if (w->secindex == SECKAD) {
	afs_int32 code = rxkad_GetServerInfo(conn, &level, &expires, name, inst, cell, &kvno);
	if (code)
	    return code;
    }
    w->level = level;
    w->kvno = kvno;
    w->expires = expires;
    w->name = strdup(name);
    w->inst = strdup(inst);
    w->cell = strdup(cell);
    return 0;
}

afs_int32
SRXP_SourceFail(struct rx_call *c, afs_uint64 n, afs_uint32 seed, afs_int32 code)
{
    int e = put(c, n, seed);
    return e ? e : code;
}

static int
getkey(void *rock, int kvno, struct ktc_encryptionKey *key)
{
    if (kvno != o.kvno)
	return RXKADUNKNOWNKEY;
    memcpy(key->data, o.key, 8);
    return 0;
}

static int
getk5key(void *rock, int kvno, int enctype, void *key, size_t *len)
{
    if (!o.k5 || kvno != o.kvno || enctype != o.k5type || *len < (size_t)o.k5len)
	return RXKADUNKNOWNKEY;
    memcpy(key, o.k5key, o.k5len);
    *len = o.k5len;
    return 0;
}

/* librx calls these for every datagram; nonzero drops it. Only the static library shows the hooks. */
static int
chance(int percent)
{
    return percent && (random() % 10000) < percent * 100;
}

static int
onsend(struct rx_packet *p, struct sockaddr_in *a)
{
    return chance(o.dropsend);
}

static int
onrecv(struct rx_packet *p, struct sockaddr_in *a)
{
    return chance(o.droprecv);
}

static void
setup(unsigned port)
{
    if (o.nojumbo)
	rx_SetNoJumbo();
    if (o.mtu)
	rx_SetMaxMTU(o.mtu);
    if (o.udpbuf)
	rx_UdpBufSize = o.udpbuf;
    if (rx_InitHost(port ? o.addr : htonl(INADDR_ANY), htons(port)))
	die("rx_InitHost failed (is UDP port %u taken?)", port);
    if (o.window) {
	rx_SetMaxReceiveWindow(o.window);
	rx_SetMaxSendWindow(o.window);
    }
    if (o.dead)
	rx_SetRxDeadTime(o.dead);
    if (o.dropsend || o.droprecv) {
	srandom(o.seed);
	rx_almostSent = onsend;
	rx_justReceived = onrecv;
    }
}

static void *
sigthread(void *set)
{
    int sig;
    sigwait(set, &sig);
    if (o.stats)
	rx_PrintStats(stderr);
    _exit(0);
}

static int
server(void)
{
    static struct rx_securityClass *sec[3];
    static sigset_t set;
    struct rx_service *s;
    pthread_t t;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    setup(o.port);
    pthread_create(&t, NULL, sigthread, &set);
    if (!o.nonull)
	sec[SECNULL] = rxnull_NewServerSecurityObject();
    if (o.minlevel > -2)
	sec[SECKAD] = o.k5 ?
	    rxkad_NewKrb5ServerSecurityObject(o.minlevel, NULL, getkey, getk5key, NULL) :
	    rxkad_NewServerSecurityObject(o.minlevel, NULL, getkey, NULL);
    s = rx_NewService(0, o.service, "rxpeer", sec, 3, RXP_ExecuteRequest);
    if (!s)
	die("rx_NewService failed");
    rx_SetMinProcs(s, 2);
    rx_SetMaxProcs(s, o.procs);
    if (o.reach)
	rx_SetCheckReach(s, 1);
    if (o.idle)
	rx_SetIdleDeadTime(s, o.idle);
    rx_StartServer(0);
    printf("rxpeer: serving %s:%d service %d\n", o.host, o.port, o.service);
    fflush(stdout);
    rx_ServerProc(NULL);
    return 0;
}

/* ---------------------------------------------------------------- client */

static int
maketicket(char *t, int *len, int *kvno)
{
    struct ktc_encryptionKey service, session;
    memcpy(service.data, o.key, 8);
    memcpy(session.data, o.session, 8);
    *kvno = o.kvno;
    if (o.k5)
	return tkt_MakeTicket5(t, len, o.k5type, kvno, o.k5key, o.k5len, (char *)o.name, (char *)o.inst,
			       (char *)o.cell, o.start, o.end, &session, "afs", "");
    return tkt_MakeTicket(t, len, &service, (char *)o.name, (char *)o.inst, (char *)o.cell, o.start, o.end,
			  &session, 0, "afs", "");
}

static void
filler(char *b, unsigned seed, int n)
{
    for (int i = 0; i < n; i++)
	b[i] = (char)(seed + 31 * i + 7 * (i >> 8));
}

static struct rx_securityClass *sc;
static int secindex;

static void
security(void)
{
    char t[MAXKTCTICKETLEN];
    int len = sizeof(t), kvno;
    struct ktc_encryptionKey session;

    if (o.level < 0) {
	sc = rxnull_NewClientSecurityObject();
	secindex = SECNULL;
	return;
    }
    memset(t, 0, sizeof(t));
    if (maketicket(t, &len, &kvno))
	die("no ticket could be made");
    memcpy(session.data, o.session, 8);
    sc = rxkad_NewClientSecurityObject(o.level, &session, kvno, len, t);
    secindex = SECKAD;
}

static struct rx_connection *
dial(void)
{
    struct rx_connection *c = rx_NewConnection(o.addr, htons(o.port), o.service, sc, secindex);
    if (!c)
	die("rx_NewConnection failed");
    if (o.dead)
	rx_SetConnDeadTime(c, o.dead);
    if (o.idle)
	rx_SetConnIdleDeadTime(c, o.idle);
    return c;
}

static int
sink(struct rx_connection *conn, unsigned long long n, unsigned seed)
{
    struct rx_call *call = rx_NewCall(conn);
    afs_uint64 got = 0, bad = 0;
    int code = StartRXP_Sink(call, n, o.verify, seed);
    if (!code)
	code = put(call, n, seed);
    if (!code)
	code = EndRXP_Sink(call, &got, &bad);
    code = rx_EndCall(call, code);
    if (!code && (got != n || bad)) {
	fprintf(stderr, "sink: server got %llu of %llu, %llu blocks wrong\n", (unsigned long long)got, n,
		(unsigned long long)bad);
	code = -100;
    }
    return code;
}

static int
source(struct rx_connection *conn, unsigned long long n, unsigned seed)
{
    struct rx_call *call = rx_NewCall(conn);
    afs_uint64 sent = 0;
    unsigned long long got = 0, bad = 0;
    int code = StartRXP_Source(call, n, seed);
    if (!code)
	code = get(call, n, seed, o.verify, &got, &bad);
    if (!code)
	code = EndRXP_Source(call, &sent);
    code = rx_EndCall(call, code);
    if (!code && (got != n || sent != n || bad)) {
	fprintf(stderr, "source: got %llu of %llu, %llu blocks wrong\n", got, n, bad);
	code = -100;
    }
    return code;
}

struct job {
    pthread_t t;
    struct rx_connection *conn;
    int kind;			/* 0 nop/echo, 1 sink, 2 source */
    unsigned seed;
    long long calls;
    double *lat;
    long nlat, caplat;
    int code;
};

static pthread_barrier_t gate;
static volatile int stop;

static void *
worker(void *arg)
{
    struct job *j = arg;
    RxpData in, out;
    char *buf = malloc(o.size + 1);

    if (o.fresh)
	j->conn = NULL;		/* it is not to be shared */
    filler(buf, j->seed, o.size);
    pthread_barrier_wait(&gate);
    if (j->kind) {
	j->code = (j->kind == 1 ? sink : source) (j->conn, o.bytes, j->seed);
	return NULL;
    }
    do {
	double t0 = now();
	if (o.fresh) {
	    if (j->conn)
		rx_DestroyConnection(j->conn);
	    j->conn = dial();
	}
	if (o.size <= 4) {
	    afs_uint32 y = 0;
	    j->code = RXP_Nop(j->conn, (afs_uint32)j->calls, &y);
	    if (!j->code && y != (afs_uint32)j->calls + 1)
		j->code = -100;
	} else {
	    in.RxpData_len = o.size;
	    in.RxpData_val = buf;
	    out.RxpData_len = 0;
	    out.RxpData_val = NULL;
	    j->code = RXP_Echo(j->conn, &in, &out);
	    if (!j->code && ((int)out.RxpData_len != o.size || memcmp(out.RxpData_val, buf, o.size)))
		j->code = -100;
	    free(out.RxpData_val);
	}
	if (j->code)
	    break;
	if (j->nlat < j->caplat)
	    j->lat[j->nlat++] = now() - t0;
	j->calls++;
    } while (!stop);
    return NULL;
}

static int
dcmp(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static const char *
levelname(void)
{
    return o.level < 0 ? "null" : o.level == 0 ? "clear" : o.level == 1 ? "auth" : "crypt";
}

static int
bench(int kind)
{
    int n = kind ? o.streams : o.threads;
    int nc = o.conns ? o.conns : (kind ? n : (n + RX_MAXCALLS - 1) / RX_MAXCALLS);
    struct job *j = calloc(n, sizeof(*j));
    struct rx_connection **c = calloc(nc, sizeof(*c));
    double t0, dt;
    long long calls = 0;
    long nl = 0;
    int code = 0;
    afs_uint32 y;

    for (int i = 0; i < nc; i++) {
	c[i] = dial();
	code = RXP_Nop(c[i], 1, &y);	/* the security handshake is not timed */
	if (code)
	    die("first call: %d", code);
    }
    pthread_barrier_init(&gate, NULL, n + 1);
    for (int i = 0; i < n; i++) {
	j[i].conn = c[i % nc];
	j[i].kind = kind;
	j[i].seed = o.seed + i;
	j[i].caplat = kind ? 0 : 2000000 / n;
	j[i].lat = malloc(sizeof(double) * (j[i].caplat + 1));
	if (pthread_create(&j[i].t, NULL, worker, &j[i]))
	    die("pthread_create");
    }
    pthread_barrier_wait(&gate);
    t0 = now();
    if (!kind) {
	usleep(o.secs * 1000000);
	stop = 1;
    }
    for (int i = 0; i < n; i++) {
	pthread_join(j[i].t, NULL);
	calls += j[i].calls;
	nl += j[i].nlat;
	if (j[i].code)
	    code = j[i].code;
    }
    dt = now() - t0;
    if (kind) {
	printf("%s level=%s streams=%d conns=%d bytes=%lld code=%d sec=%.4f MBps=%.2f\n", kind == 1 ? "sink" : "source",
	       levelname(), n, nc, o.bytes, code, dt, (double)o.bytes * n / dt / 1e6);
    } else {
	double *all = malloc(sizeof(double) * (nl + 1));
	long k = 0;
	for (int i = 0; i < n; i++)
	    for (long m = 0; m < j[i].nlat; m++)
		all[k++] = j[i].lat[m];
	qsort(all, k, sizeof(double), dcmp);
	printf("calls level=%s threads=%d conns=%d size=%d code=%d sec=%.3f calls=%lld callsps=%.0f p50us=%.1f p99us=%.1f\n",
	       levelname(), n, nc, o.size, code, dt, calls, calls / dt, k ? all[k / 2] * 1e6 : 0,
	       k ? all[(long)(k * 0.99)] * 1e6 : 0);
    }
    return code;
}

static int
raw(char **av)
{
    static unsigned char req[65536];
    static char rep[1 << 20];
    struct rx_connection *conn = dial();
    struct rx_call *call;
    int n = av[0] ? unhex(av[0], req, sizeof(req)) : 0, got, code;

    call = rx_NewCall(conn);
    if (n && rx_Write(call, (char *)req, n) != n)
	fprintf(stderr, "rx_Write short, error %d\n", rx_Error(call));
    got = rx_Read(call, rep, sizeof(rep));
    code = rx_EndCall(call, 0);
    printf("code %d\nreply %d ", code, got);
    hexout("", rep, got);
    return code;
}

static int
client(char **av)
{
    const char *cmd = av[0];
    struct rx_connection *conn;
    int code = 0;

    if (!cmd)
	die("client: which command?");
    setup(0);
    security();
    if (!strcmp(cmd, "calls"))
	code = bench(0);
    else if (!strcmp(cmd, "sink"))
	code = bench(1);
    else if (!strcmp(cmd, "source"))
	code = bench(2);
    else if (!strcmp(cmd, "raw"))
	code = raw(av + 1);
    else if (!strcmp(cmd, "nop")) {
	afs_uint32 y = 0;
	conn = dial();
	code = RXP_Nop(conn, o.seed, &y);
	printf("nop code %d: %u -> %u\n", code, o.seed, y);
    } else if (!strcmp(cmd, "echo")) {
	RxpData in, out = {0, NULL};
	int same;
	in.RxpData_len = o.size;
	in.RxpData_val = malloc(o.size + 1);
	filler(in.RxpData_val, o.seed, o.size);
	conn = dial();
	code = RXP_Echo(conn, &in, &out);
	same = !code && out.RxpData_len == in.RxpData_len && !memcmp(out.RxpData_val, in.RxpData_val, o.size);
	printf("echo code %d: %d bytes %s\n", code, o.size, same ? "same" : "DIFFER");
	if (!code && !same)
	    code = -100;
    } else if (!strcmp(cmd, "fail")) {
	conn = dial();
	code = RXP_Fail(conn, av[1] ? atoi(av[1]) : 77);
	printf("fail code %d\n", code);
	code = 0;
    } else if (!strcmp(cmd, "delay")) {
	afs_uint32 s = 0;
	conn = dial();
	code = RXP_Delay(conn, av[1] ? atoi(av[1]) : 1000, &s);
	printf("delay code %d slept %u ms\n", code, s);
    } else if (!strcmp(cmd, "whoami")) {
	RxpWho w;
	memset(&w, 0, sizeof(w));
	conn = dial();
	code = RXP_WhoAmI(conn, &w);
	if (code)
	    printf("whoami code %d\n", code);
	else
	    printf("whoami code 0: secindex %d level %d kvno %d expires %u name '%s' inst '%s' cell '%s'\n", w.secindex,
		   w.level, w.kvno, w.expires, w.name, w.inst, w.cell);
    } else if (!strcmp(cmd, "sourcefail")) {
	struct rx_call *call;
	unsigned long long got, bad;
	conn = dial();
	call = rx_NewCall(conn);
	code = StartRXP_SourceFail(call, o.bytes, o.seed, av[1] ? atoi(av[1]) : 77);
	if (!code)
	    code = get(call, o.bytes, o.seed, 1, &got, &bad);
	if (!code)
	    code = EndRXP_SourceFail(call);
	code = rx_EndCall(call, code);
	printf("sourcefail code %d\n", code);
	code = 0;
    } else
	die("unknown command %s", cmd);
    if (o.stats)
	rx_PrintStats(stderr);
    fflush(stdout);
    rx_Finalize();
    return code ? 1 : 0;
}

static int
ticket(void)
{
    char t[MAXKTCTICKETLEN];
    int len = sizeof(t), kvno;
    memset(t, 0, sizeof(t));
    if (maketicket(t, &len, &kvno))
	die("no ticket could be made");
    printf("kvno %d\n", kvno);
    hexout("session ", o.session, 8);
    hexout("ticket ", t, len);
    return 0;
}

static void
usage(void)
{
    fputs("usage: rxpeer server|ticket|client [options] [command]\n"
"  -host A -port N -service N           127.0.0.1 7900 4242 (server: bind there)\n"
"  -level null|clear|auth|crypt         client's security (null)\n"
"  -key HEX16 -kvno N                   service DES key (0123456789abcdef, 3)\n"
"  -k5key HEX -k5type N                 service krb5 key (rxkad-k5 ticket); N is the enctype (18)\n"
"  -session HEX16                       session key (fixed default)\n"
"  -name S -inst S -cell S -start T -end T     ticket (end 4294967295: never)\n"
"  -window N -mtu N -nojumbo -udpbuf N -dead S -idle S -stats -seed N\n"
"  -dropsend P -droprecv P              lose P percent\n"
" server: -procs N -reach -nonull -minlevel clear|auth|crypt|none\n"
" client commands: nop | echo | whoami | fail CODE | delay MS | sourcefail CODE | raw HEX\n"
"   calls  -threads N -conns N -secs S -size BYTES   (size <= 4: Nop; more: Echo)\n"
"          -fresh                       each call on a connection of its own\n"
"   sink | source  -streams N -conns N -bytes N -verify\n", stderr);
    exit(2);
}

static int
lvl(const char *s)
{
    if (!strcmp(s, "null")) return -1;
    if (!strcmp(s, "clear")) return 0;
    if (!strcmp(s, "auth")) return 1;
    if (!strcmp(s, "crypt")) return 2;
    if (!strcmp(s, "none")) return -2;
    die("bad level %s", s);
    return 0;
}

int
main(int ac, char **av)
{
    char **a = av + 2;
    struct in_addr in;

    if (ac < 2)
	usage();
    memcpy(o.session, "\x13\x57\x9b\xdf\x02\x46\x8a\xce", 8);
    for (; *a && **a == '-'; a++) {
	const char *f = *a + 1, *v = a[1];
#define FLAG(s, x) if (!strcmp(f, s)) { x; continue; }
#define ARG(s, x) if (!strcmp(f, s)) { if (!v) usage(); x; a++; continue; }
	FLAG("nojumbo", o.nojumbo = 1)
	FLAG("reach", o.reach = 1)
	FLAG("nonull", o.nonull = 1)
	FLAG("fresh", o.fresh = 1)
	FLAG("verify", o.verify = 1)
	FLAG("stats", o.stats = 1)
	ARG("host", o.host = v)
	ARG("port", o.port = atoi(v))
	ARG("service", o.service = atoi(v))
	ARG("level", o.level = lvl(v))
	ARG("minlevel", o.minlevel = lvl(v))
	ARG("key", if (unhex(v, o.key, 8) != 8) die("a DES key has 8 bytes"))
	ARG("kvno", o.kvno = atoi(v))
	ARG("k5key", o.k5 = 1; o.k5len = unhex(v, o.k5key, sizeof(o.k5key)))
	ARG("k5type", o.k5type = atoi(v))
	ARG("session", if (unhex(v, o.session, 8) != 8) die("a session key has 8 bytes"))
	ARG("name", o.name = v)
	ARG("inst", o.inst = v)
	ARG("cell", o.cell = v)
	ARG("start", o.start = strtoul(v, NULL, 0))
	ARG("end", o.end = strtoul(v, NULL, 0))
	ARG("procs", o.procs = atoi(v))
	ARG("threads", o.threads = atoi(v))
	ARG("conns", o.conns = atoi(v))
	ARG("streams", o.streams = atoi(v))
	ARG("secs", o.secs = atoi(v))
	ARG("size", o.size = atoi(v))
	ARG("bytes", o.bytes = atoll(v))
	ARG("window", o.window = atoi(v))
	ARG("mtu", o.mtu = atoi(v))
	ARG("udpbuf", o.udpbuf = atoi(v))
	ARG("dead", o.dead = atoi(v))
	ARG("idle", o.idle = atoi(v))
	ARG("seed", o.seed = strtoul(v, NULL, 0))
	ARG("dropsend", o.dropsend = atoi(v))
	ARG("droprecv", o.droprecv = atoi(v))
	die("unknown option -%s", f);
    }
    if (!inet_aton(o.host, &in))
	die("-host wants a dotted address");
    o.addr = in.s_addr;
    if (!strcmp(av[1], "server"))
	return server();
    if (!strcmp(av[1], "client"))
	return client(a);
    if (!strcmp(av[1], "ticket"))
	return ticket();
    usage();
    return 2;
}
