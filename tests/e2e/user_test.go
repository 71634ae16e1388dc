//go:build linux

package e2e

import (
	"os"
	"os/user"
	"strconv"
)

// userID is the user who runs the programs.
func userID() int {
	if nobody != nil {
		return int(nobody.Uid)
	}
	return os.Getuid()
}

func userName() string {
	u, err := user.LookupId(strconv.Itoa(userID()))
	if err != nil {
		return strconv.Itoa(userID())
	}
	return u.Username
}
