package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes one object on one line.
func WriteJSON(w io.Writer, r Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// WriteTable writes an aligned table for a terminal, then what is missing or
// failed, in words.
func WriteTable(w io.Writer, results []Result) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tname\tours\trival\tunit\tratio\twant\tspread\tagainst")
	for _, r := range results {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Mark, r.Name, median(r.Ours), median(r.Rival), r.Unit,
			number(r.Ratio), want(r), spread(r), r.Against)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return writeNotes(w, results, "")
}

// WriteMarkdown writes the table of docs/performance.md.
func WriteMarkdown(w io.Writer, results []Result) error {
	var b strings.Builder
	b.WriteString("| what | against | ours | rival | ratio (min to max of the rounds) | asked for | |\n|---|---|---:|---:|---:|---:|---|\n")
	for _, r := range results {
		ratio := number(r.Ratio)
		if r.Ratios != nil && len(r.Ratios.Rounds) > 1 {
			ratio = fmt.Sprintf("**%s** (%s to %s)", ratio, Figure(r.Ratios.Min), Figure(r.Ratios.Max))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.What, r.Against,
			withUnit(r.Ours, r.Unit), withUnit(r.Rival, r.Unit), ratio, want(r), r.Mark)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return writeNotes(w, results, "* ")
}

// writeNotes says in words what the table cannot: missing, failed, disturbed,
// and the further figures.
func writeNotes(w io.Writer, results []Result, bullet string) error {
	var b strings.Builder
	for _, r := range results {
		line := func(format string, args ...any) {
			fmt.Fprintf(&b, "%s%s: %s\n", bullet, r.Name, fmt.Sprintf(format, args...))
		}
		if r.Missing != "" {
			line("missing: %s", r.Missing)
		}
		if r.Error != "" {
			line("failed: %s", r.Error)
		}
		if r.Disturbed > 0 {
			line("others used up to %.2f cores; %d of %d rounds disturbed", slices.Max(r.Others), r.Disturbed, len(r.Others))
		}
		if len(r.Extra) > 0 {
			parts := make([]string, 0, len(r.Extra))
			for k, v := range r.Extra {
				parts = append(parts, k+" "+Figure(v))
			}
			slices.Sort(parts)
			line("%s", strings.Join(parts, ", "))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(w, "\n"+b.String())
	return err
}

// Figure formats x with three significant digits, thousands as k and millions
// as M.
func Figure(x float64) string {
	a := math.Abs(x)
	switch {
	case a >= 1e6:
		return Figure3(x/1e6) + " M"
	case a >= 1e4:
		return Figure3(x/1e3) + " k"
	}
	return Figure3(x)
}

// Figure3 formats x with three significant digits, or all digits of its integer part.
func Figure3(x float64) string {
	switch a := math.Abs(x); {
	case x == 0:
		return "0"
	case a >= 99.95:
		return fmt.Sprintf("%.0f", x)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", x)
	case a >= 0.0995:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

func median(s *Summary) string {
	if s == nil {
		return "-"
	}
	return Figure(s.Median)
}

func withUnit(s *Summary, unit string) string {
	if s == nil {
		return "-"
	}
	return Figure(s.Median) + " " + unit
}

func number(x *float64) string {
	if x == nil {
		return "-"
	}
	return Figure(*x)
}

func want(r Result) string {
	if r.Want == nil {
		return "-"
	}
	return Figure3(*r.Want)
}

func spread(r Result) string {
	if r.Ratios == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*r.Ratios.Spread())
}
