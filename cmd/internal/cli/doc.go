// Package cli is what the commands of this project have in common: the global
// flags, exit codes, signals, logging, and how they print.
//
// # Conventions
//
// What a script may read goes to stdout, talk to stderr. With --json every line of stdout is
// one JSON object. Nothing is coloured unless it goes to a terminal, nor when NO_COLOR is set.
//
// Exit codes:
//
//	0    done
//	1    failed
//	2    the command line cannot be understood
//	3    no answer in time, or the one who was to answer went away
//	130  ended by SIGINT, 143 by SIGTERM, 129 by SIGHUP (128 + the signal)
//
// The first signal ends a command in good order, the second at once.
package cli
