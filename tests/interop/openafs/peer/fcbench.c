/*
 * fcbench encrypt|decrypt MS SIZE: how fast librxkad's fc_cbc_encrypt is on packets of SIZE bytes, for at least MS
 * milliseconds on one core. Prints the bytes, the seconds, and the sum of the bytes of the last packet, by which
 * another implementation that has done the same can be compared.
 *
 * The key is 0123456789abcdef, and the initial vector, too; byte i of a packet is 31 i mod 256 before.
 */
#include <afs/param.h>
#include <afs/stds.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <rx/rx.h>
#include <rx/rxkad.h>
#include <rx/fcrypt.h>

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int
main(int ac, char **av)
{
    static const unsigned char key[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static unsigned char in[65536], out[65536];
    struct ktc_encryptionKey k;
    fc_KeySchedule sched;
    afs_int32 iv[2];
    long long bytes = 0;
    unsigned long sum = 0;
    double start, end;
    int encrypt, size;

    if (ac != 4 || (size = atoi(av[3])) <= 0 || size % 8 || size > (int)sizeof(in))
	return fputs("usage: fcbench encrypt|decrypt MS SIZE\n", stderr), 2;
    encrypt = !strcmp(av[1], "encrypt");
    rxkad_Init();		/* fcrypt counts its work in rxkad's statistics */
    memcpy(k.data, key, 8);
    if (fc_keysched(&k, sched))
	return 1;
    for (int i = 0; i < size; i++)
	in[i] = 31 * i;
    start = now();
    do {
	for (int i = 0; i < 64; i++) {
	    memcpy(iv, key, 8);
	    fc_cbc_encrypt(in, out, size, sched, (afs_uint32 *)iv, encrypt);
	    bytes += size;
	}
	end = now();
    } while (end - start < atoi(av[2]) / 1e3);
    for (int i = 0; i < size; i++)
	sum += out[i];
    printf("fcbench bytes=%lld sec=%.6f sum=%lu code=0\n", bytes, end - start, sum);
    return 0;
}
