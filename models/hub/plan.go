package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// File is a file of a repository.
type File struct {
	Path string // with slashes
	Size int64  // bytes; -1 if the hub does not say
}

// Plan is a model as the hub has it, at one commit, and the files of it to fetch.
type Plan struct {
	Ref    Ref
	Commit string
	Files  []File // in the order of their paths
	All    []File // everything in the repository

	client *Client
}

// Bytes is the size of all files of the plan, as far as it is known.
func (p *Plan) Bytes() int64 {
	var n int64
	for _, f := range p.Files {
		n += max(f.Size, 0)
	}
	return n
}

// Main is the file that says what kind of model it is: config.json, or the GGUF
// file, whose header tells.
func (p *Plan) Main() File {
	for _, f := range p.Files {
		if f.Path == "config.json" {
			return f
		}
	}
	for _, f := range p.Files {
		if isGGUF(f.Path) {
			return f
		}
	}
	return p.Files[0]
}

// What a model consists of beside its weights.
var companions = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"tokenizer.model", "chat_template.jinja",
}

const (
	indexFile = "model.safetensors.index.json"
	oneFile   = "model.safetensors"
	maxIndex  = 32 << 20
)

func isGGUF(p string) bool        { return strings.EqualFold(path.Ext(p), ".gguf") }
func isSafetensors(p string) bool { return path.Ext(p) == ".safetensors" }

// choose returns the paths of a repository that ref asks for. index reads the
// list of weight files. One GGUF file stands alone; one safetensors file comes
// with its companions.
func choose(ref Ref, all []string, index func() ([]byte, error)) ([]string, error) {
	has := func(p string) bool { return slices.Contains(all, p) }
	var chosen []string
	withCompanions := func(weights ...string) []string {
		for _, p := range companions {
			if has(p) {
				chosen = append(chosen, p)
			}
		}
		chosen = append(chosen, weights...)
		slices.Sort(chosen)
		return slices.Compact(chosen)
	}
	if ref.File != "" {
		switch {
		case !has(ref.File):
			return nil, fmt.Errorf("hub: %s: the file %s is %w; there are %s", ref.Repo, ref.File, ErrNotFound, some(all))
		case isSafetensors(ref.File) && path.Dir(ref.File) == ".":
			return withCompanions(ref.File), nil
		}
		return []string{ref.File}, nil
	}
	if has("config.json") {
		switch {
		case has(indexFile):
			shards, err := readShards(ref, has, index)
			if err != nil {
				return nil, err
			}
			return withCompanions(append(shards, indexFile)...), nil
		case has(oneFile):
			return withCompanions(oneFile), nil
		}
		var weights []string
		for _, p := range all {
			if isSafetensors(p) && path.Dir(p) == "." {
				weights = append(weights, p)
			}
		}
		if len(weights) > 0 {
			return withCompanions(weights...), nil
		}
	}
	var ggufs []string
	for _, p := range all {
		if isGGUF(p) {
			ggufs = append(ggufs, p)
		}
	}
	switch len(ggufs) {
	case 0:
		return nil, fmt.Errorf("hub: %s holds neither config.json with safetensors nor a GGUF file, but %s", ref, some(all))
	case 1:
		return ggufs, nil
	}
	return nil, fmt.Errorf("hub: %s holds %d GGUF files; name one as %s:FILE: %s", ref, len(ggufs), ref, some(ggufs))
}

func some(names []string) string {
	const most = 12
	if len(names) == 0 {
		return "no files"
	}
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// readShards returns the weight files that an index lists.
func readShards(ref Ref, has func(string) bool, index func() ([]byte, error)) ([]string, error) {
	data, err := index()
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("hub: %s: %s: %w", ref, indexFile, err)
	}
	if len(parsed.Map) == 0 {
		return nil, fmt.Errorf("hub: %s: %s lists no weights", ref, indexFile)
	}
	shards := slices.Compact(slices.Sorted(maps.Values(parsed.Map)))
	for _, s := range shards {
		if !safePath(s) || !has(s) {
			return nil, fmt.Errorf("hub: %s: %s lists %q, which is %w", ref, indexFile, s, ErrNotFound)
		}
	}
	return shards, nil
}

// Plan asks the hub what a model consists of. It fetches nothing but the list
// of weight files, if the model has one.
func (c *Client) Plan(ctx context.Context, ref Ref) (*Plan, error) {
	if err := ref.check(); err != nil {
		return nil, err
	}
	if c.Offline {
		return nil, fmt.Errorf("hub: %s: %w", ref, ErrOffline)
	}
	base, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	u := base.JoinPath("api", "models", ref.Repo, "revision", url.PathEscape(ref.revision()))
	u.RawQuery = "blobs=true"
	body, err := c.get(ctx, ref.String(), u, nil, 64<<20)
	if err != nil {
		return nil, err
	}
	var info struct {
		SHA      string
		Siblings []struct {
			Name string `json:"rfilename"`
			Size *int64
		}
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, fmt.Errorf("hub: %s: the answer of %s is not the hub's: %w", ref, base.Host, err)
	}
	if !commitHash.MatchString(info.SHA) {
		return nil, fmt.Errorf("hub: %s: the answer of %s names no commit", ref, base.Host)
	}
	p := &Plan{Ref: ref, Commit: info.SHA, client: c}
	sizes := map[string]int64{}
	for _, s := range info.Siblings {
		if !safePath(s.Name) {
			return nil, fmt.Errorf("hub: %s holds a file with the unsafe name %q", ref, s.Name)
		}
		f := File{s.Name, -1}
		if s.Size != nil && *s.Size >= 0 {
			f.Size = *s.Size
		}
		sizes[f.Path] = f.Size
		p.All = append(p.All, f)
	}
	slices.SortFunc(p.All, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	names := slices.Sorted(maps.Keys(sizes))
	chosen, err := choose(ref, names, func() ([]byte, error) { return p.Read(ctx, indexFile, maxIndex) })
	if err != nil {
		return nil, err
	}
	for _, name := range chosen {
		p.Files = append(p.Files, File{name, sizes[name]})
	}
	return p, nil
}

// fileURL is where the hub resolves a file of the plan's commit.
func (p *Plan) fileURL(name string) (*url.URL, error) {
	base, err := p.client.endpoint()
	if err != nil {
		return nil, err
	}
	parts := append([]string{p.Ref.Repo, "resolve", p.Commit}, strings.Split(name, "/")...)
	for i := 3; i < len(parts); i++ {
		parts[i] = url.PathEscape(parts[i])
	}
	return base.JoinPath(parts...), nil
}

// Read returns a whole small file, from the cache if it is there.
func (p *Plan) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if data, err := p.cached(name, limit+1); err == nil && int64(len(data)) <= limit {
		return data, nil
	}
	u, err := p.fileURL(name)
	if err != nil {
		return nil, err
	}
	return p.client.get(ctx, p.Ref.Repo+":"+name, u, nil, limit)
}

// Head returns the first n bytes of a file, or all of it if it is shorter,
// without fetching the rest.
func (p *Plan) Head(ctx context.Context, f File, n int) ([]byte, error) {
	if n <= 0 {
		return nil, nil
	}
	if data, err := p.cached(f.Path, int64(n)); err == nil {
		return data, nil
	}
	u, err := p.fileURL(f.Path)
	if err != nil {
		return nil, err
	}
	what := p.Ref.Repo + ":" + f.Path
	var head []byte
	err = p.client.retry(ctx, func(ctx context.Context) (bool, error) {
		ctx, watch := p.client.watch(ctx)
		defer watch.stop()
		resp, err := p.client.do(ctx, http.MethodGet, u, http.Header{"Range": {fmt.Sprintf("bytes=0-%d", n-1)}}, false)
		if err != nil {
			return false, watch.err(err)
		}
		defer resp.Body.Close() // a server without ranges sends everything: do not drain
		switch resp.StatusCode {
		case http.StatusOK, http.StatusPartialContent:
		case http.StatusRequestedRangeNotSatisfiable: // an empty file
			head = nil
			return true, nil
		default:
			return false, statusError(what, resp, p.client.Token != "")
		}
		buf := make([]byte, 0, min(n, 1<<20))
		head, err = appendUpTo(buf, watch.reader(resp.Body), n)
		if err != nil {
			return false, watch.err(&transient{err: fmt.Errorf("hub: %s: %w", what, err)})
		}
		return true, nil
	})
	return head, err
}

// cached returns up to n bytes of a file in the cache.
func (p *Plan) cached(name string, n int64) ([]byte, error) {
	file, err := os.Open(p.client.repo(p.Ref.Repo).pointer(p.Commit, name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return appendUpTo(nil, file, int(n))
}

// ErrIncomplete is wrapped by Local's error about a model of which some files
// are in the cache and others are missing.
var ErrIncomplete = errors.New("incomplete in the cache")

// Local returns the path of a model that is complete in the cache, without
// using the network: a folder, or a file if the ref names one or the model is
// one GGUF file. The error wraps [ErrOffline] if it is not there.
func (c *Client) Local(ref Ref) (string, error) {
	if err := ref.check(); err != nil {
		return "", err
	}
	r := c.repo(ref.Repo)
	commit, err := r.commit(ref.revision())
	if err != nil {
		return "", fmt.Errorf("hub: %s: %w", ref, ErrOffline)
	}
	root := r.snapshot(commit)
	have, err := filesBelow(root)
	if err != nil || len(have) == 0 {
		return "", fmt.Errorf("hub: %s: %w", ref, ErrOffline)
	}
	chosen, err := choose(ref, have, func() ([]byte, error) { return os.ReadFile(filepath.Join(root, indexFile)) })
	if err != nil {
		return "", fmt.Errorf("%w (%w)", err, ErrIncomplete)
	}
	return r.open(commit, ref, chosen), nil
}

// open returns what a caller opens: a file if it is asked for or alone.
func (r repo) open(commit string, ref Ref, chosen []string) string {
	switch {
	case ref.File != "":
		return r.pointer(commit, ref.File)
	case len(chosen) == 1:
		return r.pointer(commit, chosen[0])
	}
	return r.snapshot(commit)
}
