// Command cnbus runs a connector message bus and looks after it: the broker itself, who is
// registered, who listens, messages sent, called and watched by hand, and the kernel's process
// events. It also looks at RxRPC endpoints.
package main

import (
	"os"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

//go:generate go test -count=1 -run ^TestManPages$ . -update
//go:generate go test -count=1 -run ^TestManPages$ ../cn-test -update

func main() {
	app := cli.New()
	os.Exit(app.Main(newRoot(app), os.Args[1:]))
}
