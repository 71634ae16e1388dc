// Package rxkad is nothing but tests: they set package rxrpc/rxkad against OpenAFS, its servers, its commands and its library, and
// against the Linux kernel, as client and as server.
package rxkad
