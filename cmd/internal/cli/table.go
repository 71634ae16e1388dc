package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Table is an aligned table. A heading that begins with ">" makes its column
// right-aligned, as numbers are.
type Table struct {
	heads []string
	right []bool
	rows  [][]string
}

// NewTable returns a table with these headings.
func NewTable(heads ...string) *Table {
	t := &Table{}
	for _, h := range heads {
		name, right := strings.CutPrefix(h, ">")
		t.heads = append(t.heads, name)
		t.right = append(t.right, right)
	}
	return t
}

// Row adds a row, of as many cells as there are headings.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(t.heads))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// Len is how many rows there are.
func (t *Table) Len() int { return len(t.rows) }

// Print writes the table.
func (t *Table) Print(w io.Writer, s Style) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.heads}, t.rows...) {
		for i, c := range row {
			if t.right[i] {
				c = strings.Repeat(" ", t.width(i)-utf8.RuneCountInString(c)) + c
			}
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, c)
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	// Colour comes last: tabwriter would count its bytes.
	for n, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if n == 0 {
			line = s.Bold(line)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) width(col int) int {
	n := utf8.RuneCountInString(t.heads[col])
	for _, r := range t.rows {
		n = max(n, utf8.RuneCountInString(r[col]))
	}
	return n
}
