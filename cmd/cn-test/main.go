// Command cn-test tests a connector bus: the kernel's cn_test and ucon of 2005 as one
// program, on any carrier, and tools that measure it and account for every message.
package main

import (
	"os"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

func main() {
	app := cli.New()
	os.Exit(app.Main(newRoot(app), os.Args[1:]))
}
