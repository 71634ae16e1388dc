package cli

import "fmt"

// Notice says something to the user on stderr, unless --quiet. With
// --log-format json it stays out of the way of the log.
func (a *App) Notice(format string, args ...any) {
	if a.Quiet || a.LogFormat == "json" {
		return
	}
	fmt.Fprintf(a.Err, format+"\n", args...)
}
