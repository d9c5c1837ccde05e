package hub

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Ref names a model on the hub.
type Ref struct {
	Repo     string // OWNER/REPO
	File     string // one file of it, or "" for what a model needs
	Revision string // branch, tag or commit; "" means main
}

func (r Ref) String() string {
	s := r.Repo
	if r.Revision != "" {
		s += "@" + r.Revision
	}
	if r.File != "" {
		s += ":" + r.File
	}
	return s
}

// revision returns the revision that is meant.
func (r Ref) revision() string {
	if r.Revision == "" {
		return "main"
	}
	return r.Revision
}

// A name has up to 96 characters, and neither "--" nor "..".
var repoName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)

// ParseRef reads OWNER/REPO, OWNER/REPO:FILE and, with a revision,
// OWNER/REPO@REVISION or OWNER/REPO@REVISION:FILE.
func ParseRef(s string) (Ref, error) {
	name, file, hasFile := strings.Cut(s, ":")
	repo, revision, hasRevision := strings.Cut(name, "@")
	r := Ref{repo, file, revision}
	if hasFile && file == "" || hasRevision && revision == "" {
		return Ref{}, fmt.Errorf("hub: %q ends too early; write OWNER/REPO[@REVISION][:FILE]", s)
	}
	return r, r.check()
}

func (r Ref) check() error {
	if !repoName.MatchString(r.Repo) || strings.Contains(r.Repo, "--") || strings.Contains(r.Repo, "..") || strings.HasSuffix(r.Repo, ".git") {
		return fmt.Errorf("hub: %q is no name of a model; write OWNER/REPO[:FILE]", r.Repo)
	}
	if !safePath(r.revision()) {
		return fmt.Errorf("hub: %s: %q is no revision", r.Repo, r.Revision)
	}
	if r.File != "" && !safePath(r.File) {
		return fmt.Errorf("hub: %s: %q is no path of a file in a repository", r.Repo, r.File)
	}
	return nil
}

// safePath reports whether a path from the hub or the user stays, on every
// system, inside the folder that it is joined to.
func safePath(p string) bool {
	return p != "." && len(p) <= 1024 && fs.ValidPath(p) && filepath.IsLocal(filepath.FromSlash(p)) &&
		!strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == '\\' || r == ':' || r == 0x7f })
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etagName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)
