// Package interop tests RxRPC and what stands on it against OpenAFS and Linux. See
// README.md.
package interop
