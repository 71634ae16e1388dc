package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether w is one.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Style colours text, or leaves it alone.
type Style struct{ on bool }

// styleOf is for what is printed to w: colour only on a terminal, and not where
// the user forbids it (no-color.org).
func styleOf(w io.Writer) Style {
	return Style{IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// StyleOf is Style for stderr and others.
func StyleOf(w io.Writer) Style { return styleOf(w) }

// On reports whether text is coloured.
func (s Style) On() bool { return s.on }

func (s Style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for headings.
func (s Style) Bold(text string) string { return s.paint("1", text) }

// Dim is for what is seldom looked at.
func (s Style) Dim(text string) string { return s.paint("2", text) }

// Red is for failures and losses.
func (s Style) Red(text string) string { return s.paint("31", text) }

// Green is for what is well.
func (s Style) Green(text string) string { return s.paint("32", text) }

// Yellow is for warnings.
func (s Style) Yellow(text string) string { return s.paint("33", text) }

// Cyan is for names.
func (s Style) Cyan(text string) string { return s.paint("36", text) }
