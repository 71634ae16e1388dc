// Package fcrypt is the cipher of rxkad: 64-bit blocks, a 56-bit key, sixteen Feistel
// rounds, always in PCBC mode (Rx security index 2; AFS 3.1b).
//
// It is broken and is here because every AFS server speaks it: its key can be found
// by trying, its tables are weaker than those of DES, and PCBC does not notice exchanged blocks.
// Whoever can read a connection can read what is inside, and change it. Use it to talk to what
// speaks nothing else, never to keep a secret.
//
// # Speed
//
// The result of a block is needed for the next one, so that a processor waits
// most of the time when one chain is encrypted. Packets are chains of their own: EncryptMany works on
// several at once. Decryption waits for nothing: the blocks of a chain are independent until the
// very end.
package fcrypt
