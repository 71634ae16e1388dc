package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// VersionInfo is what `version --json` prints.
type VersionInfo struct {
	Module   string `json:"module"`
	Version  string `json:"version"`            // of the module; "(devel)" for a build from a tree
	Revision string `json:"revision,omitempty"` // of the version control system
	Time     string `json:"time,omitempty"`     // of that revision, RFC 3339
	Modified bool   `json:"modified,omitempty"` // the tree had changes besides
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionInfo() VersionInfo {
	v := VersionInfo{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Version: "(devel)"}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Module, v.Go = b.Main.Path, b.GoVersion
	if b.Main.Version != "" {
		v.Version = b.Main.Version
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// Version is the version on one line.
func Version() string {
	v := versionInfo()
	s := v.Version
	if v.Revision != "" {
		s += " " + v.Revision[:min(12, len(v.Revision))]
		if v.Modified {
			s += "+changes"
		}
	}
	return fmt.Sprintf("%s %s %s", s, v.Go, v.Platform)
}

// NewVersion is the command `version`.
func NewVersion(a *App) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version of the module, the revision it was built from, and the Go version.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.JSON {
				return a.Out.JSON(versionInfo())
			}
			a.Out.Printf("%s %s\n", c.Root().Name(), Version())
			return nil
		},
	}
}
