// Bench measures what this project does against what a user would take instead.
//
//	go run ./tests/bench -suite NAME [-run REGEXP] [-rounds 5] [-quick] [-json | -markdown] [-update FILE]
//
// Each row is a ratio, measured in one run on one machine, made so that higher is better,
// the median of its rounds. docs/performance.md tells how it is measured. Exit codes: 0 all rows were
// measured or said to be missing, 1 one failed (with -strict: or is below what is asked for), 2 usage.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/tests/bench/agentbench"
	"github.com/cnbus/cnbus/tests/bench/busbench"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tests/bench/rxbench"
	"github.com/cnbus/cnbus/tests/bench/tsbench"
)

// suites are all there are, by name.
var suites = map[string]func() harness.Suite{
	"agents":  agentbench.Suite,
	"bus":     busbench.Suite,
	"hosts":   busbench.HostsSuite,
	"rxkad":   rxbench.SecuritySuite,
	"rxrpc":   rxbench.Suite,
	"tsocket": tsbench.Suite,
}

// roles are the processes of all suites.
func roles() map[string]role.Func {
	all := make(map[string]role.Func)
	for _, m := range []map[string]role.Func{agentbench.Roles, busbench.Roles, rxbench.Roles, tsbench.Roles} {
		maps.Copy(all, m)
	}
	return all
}

// mainRoles plays a role and ends the process, if it was started for one.
func mainRoles() { role.Main(roles()) }

func main() {
	mainRoles()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o harness.Options
	suite := fs.String("suite", "bus", "`NAME` of the suite: "+strings.Join(slices.Sorted(maps.Keys(suites)), ", "))
	fs.BoolVar(&o.Quick, "quick", false, "one short round: shows that everything runs, not how fast")
	fs.BoolVar(&o.Cheap, "cheap", false, "only the rows of the smoke test")
	fs.IntVar(&o.Rounds, "rounds", 0, "rounds (default 5, with -quick 1)")
	match := fs.String("run", "", "only the rows whose name matches `REGEXP`")
	asJSON := fs.Bool("json", false, "print one JSON object for each row, as soon as it is measured")
	asMarkdown := fs.Bool("markdown", false, "print the table of docs/performance.md")
	update := fs.String("update", "", "write that table into `FILE`, between <!-- bench:NAME --> and <!-- /bench:NAME -->")
	strict := fs.Bool("strict", false, "exit with 1 also when a row is below what is asked for")
	list := fs.Bool("list", false, "print the names of the rows")
	verbose := fs.Bool("v", false, "say on standard error what is being measured")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitDone
		}
		return exitUsage
	}
	usage := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "bench: "+format+"\n", a...)
		return exitUsage
	}
	newSuite, ok := suites[*suite]
	switch {
	case !ok:
		return usage("no suite %q", *suite)
	case fs.NArg() > 0:
		return usage("unexpected argument %q", fs.Arg(0))
	case *asJSON && *asMarkdown:
		return usage("-json and -markdown exclude each other")
	case *update != "" && (o.Quick || o.Cheap || *match != ""):
		return usage("-update needs the whole suite, and no -quick")
	case o.Rounds < 0:
		return usage("-rounds must not be negative")
	}
	if *match != "" {
		var err error
		if o.Match, err = regexp.Compile(*match); err != nil {
			return usage("-run: %v", err)
		}
	}
	if *list {
		for _, r := range newSuite().Rows() {
			fmt.Fprintln(stdout, r.Name)
		}
		return exitDone
	}
	if *verbose {
		o.Progress = func(format string, a ...any) { fmt.Fprintf(stderr, "bench: "+format+"\n", a...) }
	}
	var writeErr error
	if *asJSON {
		o.Done = func(r harness.Result) { writeErr = errors.Join(writeErr, harness.WriteJSON(stdout, r)) }
	}
	results, err := harness.Run(ctx, newSuite(), o)
	switch {
	case *asMarkdown:
		writeErr = markdown(stdout, results)
	case !*asJSON:
		writeErr = harness.WriteTable(stdout, results)
	}
	if *update != "" && err == nil {
		var b bytes.Buffer
		writeErr = errors.Join(writeErr, markdown(&b, results), harness.ReplaceSection(*update, *suite, b.String()))
	}
	if err = errors.Join(err, writeErr); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return exitFailed
	}
	if len(results) == 0 {
		return usage("no row matches")
	}
	worst := harness.Worst(results)
	if worst == harness.MarkFailed || *strict && worst == harness.MarkBelow {
		return exitFailed
	}
	return exitDone
}

// rivals are the modules whose versions matter.
var rivals = []string{"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "github.com/godbus/dbus/v5"}

// markdown writes the table with what it was measured on.
func markdown(w io.Writer, results []harness.Result) error {
	if _, err := fmt.Fprintf(w, "On %s.\n\n", harness.Machine(rivals...)); err != nil {
		return err
	}
	return harness.WriteMarkdown(w, results)
}
