package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHiddenProcesses(t *testing.T) {
	const seen = "22 28 0:21 / /proc rw,nosuid - proc proc rw\n"
	for mountinfo, want := range map[string]bool{
		"":   false,
		seen: false,
		"22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw,hidepid=2\n":            true,
		"22 28 0:21 / /proc rw,nosuid - proc proc rw,gid=4,hidepid=invisible\n":        true,
		"22 28 0:21 / /proc rw,nosuid - proc proc rw,hidepid=off\n":                    false,
		"22 28 0:21 / /jail/proc rw - proc proc rw,hidepid=2\n":                        false,
		"22 28 0:21 / /proc rw - proc proc rw,hidepid=2\n" + seen:                      false,
		"23 28 0:22 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw,hidepid=2\n":   false,
		seen + "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw,hidepid=1,a=b\n": true,
	} {
		assert.Equal(t, want, hiddenIn(mountinfo), mountinfo)
	}
}
