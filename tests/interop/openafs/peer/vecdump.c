/*
 * vecdump SERVICEKEYS HEX: opens an rxkad RESPONSE (the UDP payload in hex, Rx header included) with
 * the service key, and prints what was inside the ticket and the sealed part.
 *   vecdump des:KVNO:HEX16 PAYLOAD      vecdump k5:KVNO:ENCTYPE:HEX PAYLOAD
 */
#include <afs/param.h>
#include <afs/stds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <rx/xdr.h>
#include <rx/rx.h>
#include <rx/rxkad.h>
#include <rx/fcrypt.h>

extern int tkt_DecodeTicket5(char *ticket, afs_int32 len, int (*get_key) (void *, int, struct ktc_encryptionKey *),
			     rxkad_get_key_enctype_func, char *rock, int kvno, char *name, char *inst, char *cell,
			     struct ktc_encryptionKey *session, afs_int32 *host, afs_uint32 *start, afs_uint32 *end,
			     afs_int32 disabledot);

static unsigned char key[64], p[65536];
static int keylen, keykvno, keytype;

static int
unhex(const char *s, unsigned char *b)
{
    int n = 0;
    unsigned v;
    for (; s[0] && s[1] && sscanf(s, "%2x", &v) == 1; s += 2)
	b[n++] = v;
    return n;
}

static void
hex(const char *l, const void *v, int n)
{
    const unsigned char *b = v;
    printf("%s", l);
    while (n--)
	printf("%02x", *b++);
    putchar('\n');
}

static int
k5(void *rock, int kvno, int type, void *out, size_t *len)
{
    if (kvno != keykvno || type != keytype)
	return RXKADUNKNOWNKEY;
    memcpy(out, key, keylen);
    *len = keylen;
    return 0;
}

static unsigned
u32(const unsigned char *b)
{
    return (unsigned)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

int
main(int ac, char **av)
{
    struct ktc_encryptionKey sk, session;
    char name[MAXKTCNAMELEN] = "", inst[MAXKTCNAMELEN] = "", cell[MAXKTCREALMLEN] = "";
    afs_int32 host = 0;
    afs_uint32 start = 0, end = 0, iv[2];
    fc_KeySchedule sched;
    unsigned char plain[40], again[40];
    unsigned sum = 1000003;
    int n, tl, code, kv;
    char hexs[256];

    if (ac < 3)
	return 2;
    if (sscanf(av[1], "des:%d:%255s", &keykvno, hexs) == 2)
	keytype = 0;
    else if (sscanf(av[1], "k5:%d:%d:%255s", &keykvno, &keytype, hexs) != 3)
	return 2;
    rxkad_Init();		/* fcrypt counts its work in rxkad's statistics */
    keylen = unhex(hexs, key);
    n = unhex(av[2], p);
    if (n < 28 + 8 + 40 + 8 || p[20] != 7)
	return fprintf(stderr, "not a RESPONSE\n"), 1;
    kv = u32(p + 76);
    tl = u32(p + 80);
    printf("header: epoch %08x cid %08x call %u seq %u serial %u type %u flags %02x secindex %u spare %u service %u\n",
	   u32(p), u32(p + 4), u32(p + 8), u32(p + 12), u32(p + 16), p[20], p[21], p[23], p[24] << 8 | p[25], p[26] << 8 | p[27]);
    printf("response: version %u spare %u kvno %d ticketlen %d\n", u32(p + 28), u32(p + 32), kv, tl);
    if (keytype == 0) {
	memcpy(sk.data, key, 8);
	code = tkt_DecodeTicket((char *)p + 84, tl, &sk, name, inst, cell, &session, &host, &start, &end);
    } else
	code = tkt_DecodeTicket5((char *)p + 84, tl, NULL, k5, NULL, kv, name, inst, cell, &session, &host, &start, &end, 0);
    printf("ticket: decode code %d name '%s' inst '%s' cell '%s' host %u start %u end %u\n", code, name, inst, cell,
	   host, start, end);
    if (code)
	return 1;
    hex("session key: ", session.data, 8);
    fc_keysched(&session, sched);
    memcpy(iv, session.data, 8);
    fc_cbc_encrypt(p + 36, plain, 40, sched, iv, 0);
    hex("sealed, opened: ", plain, 40);
    printf("  epoch %08x cid %08x cksum %08x secindex %u calls %u %u %u %u inc-nonce %08x level %u\n", u32(plain),
	   u32(plain + 4), u32(plain + 8), u32(plain + 12), u32(plain + 16), u32(plain + 20), u32(plain + 24),
	   u32(plain + 28), u32(plain + 32), u32(plain + 36));
    /* the checksum runs over version, spare, and the opened part with cksum 0, then kvno and ticketlen */
    memcpy(again, plain, 40);
    memset(again + 8, 0, 4);
    for (int i = 28; i < 36; i++) sum = sum * 0x10204081 + p[i];
    for (int i = 0; i < 40; i++) sum = sum * 0x10204081 + again[i];
    for (int i = 76; i < 84; i++) sum = sum * 0x10204081 + p[i];
    printf("  checksum recomputed %08x: %s\n", sum, sum == u32(plain + 8) ? "ok" : "DIFFERS");
    return 0;
}
