//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

// This binary plays the other processes too, so that what is tested is what the
// test was built with, the race detector included.
const (
	roleEnv   = "CNBUS_FAULTS_ROLE"
	configEnv = "CNBUS_FAULTS_CONFIG"
)

// roles are the mains of the other processes.
var roles = map[string]func() error{
	"broker": brokerMain,
	"mob":    mobMain,
	"victim": victimMain,
	"member": memberMain,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		testenv.Main(m)
		return
	}
	if err := roles[role](); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// roleConfig reads what the test wants of this process.
func roleConfig[T any]() (c T, err error) {
	return c, json.Unmarshal([]byte(os.Getenv(configEnv)), &c)
}
