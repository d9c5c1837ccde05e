package runfile

import (
	"fmt"
	"strings"
)

// Markdown returns the settings and their values as tables: one of those outside
// sections, then one for each section.
func Markdown(cfg any) string {
	var b strings.Builder
	all := Settings(cfg)
	b.WriteString(tableHead)
	for _, s := range all {
		if s.Depth() == 0 && !s.Section {
			writeRow(&b, s)
		}
	}
	for _, s := range all {
		switch {
		case s.Depth() == 0 && s.Section:
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s", s.Key, s.Help, tableHead)
		case s.Section:
			fmt.Fprintf(&b, "| **%s** | | | %s | %s |\n", s.Key, cell(s.Help), cell(s.Source))
		case s.Depth() > 0:
			writeRow(&b, s)
		}
	}
	return b.String()
}

const tableHead = "| key | flag | default | | source |\n|---|---|---|---|---|\n"

func writeRow(b *strings.Builder, s Setting) {
	text, err := scalar(s.Value)
	if err != nil {
		text = err.Error()
	}
	fmt.Fprintf(b, "| `%s` | `--%s` | `%s` | %s | %s |\n", s.Key, s.Flag, text, cell(s.Help), cell(s.Source))
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
