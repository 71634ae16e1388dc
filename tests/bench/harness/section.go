package harness

import (
	"fmt"
	"os"
	"strings"
)

// ReplaceSection replaces what stands in a file between the lines
// <!-- bench:NAME --> and <!-- /bench:NAME -->.
func ReplaceSection(path, name, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := replaceSection(string(b), name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(s), 0o644)
}

func replaceSection(s, name, text string) (string, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
	before, rest, ok := strings.Cut(s, begin)
	if ok {
		_, rest, ok = strings.Cut(rest, end)
	}
	if !ok {
		return "", fmt.Errorf("no section between %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + strings.Trim(text, "\n") + "\n\n" + end + rest, nil
}
