package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trit-ml/trit/internal/filelock"

	"golang.org/x/sync/errgroup"
)

// Get returns the path of a model, fetching what the cache lacks. A model that
// is complete in the cache is returned as it is when the client is offline or
// the hub cannot be reached; stale is true in the second case.
func (c *Client) Get(ctx context.Context, ref Ref) (path string, stale bool, err error) {
	if c.Offline {
		path, err = c.Local(ref)
		return path, false, err
	}
	plan, err := c.Plan(ctx, ref)
	if err == nil {
		path, err = c.Pull(ctx, plan)
		return path, false, err
	}
	var unreachable *transient
	if ctx.Err() == nil && errors.As(err, &unreachable) {
		if path, lerr := c.Local(ref); lerr == nil {
			return path, true, nil
		}
	}
	return "", false, err
}

// Pull fetches the files of a plan that the cache lacks and returns the path to
// open: the model's folder, or its file if the plan's ref names one or it is one
// GGUF file. What is fetched stays in the cache if Pull fails or is cancelled,
// and the next Pull goes on from there.
func (c *Client) Pull(ctx context.Context, p *Plan) (string, error) {
	if c.Offline {
		return "", fmt.Errorf("hub: %s: %w", p.Ref, ErrOffline)
	}
	r := c.repo(p.Ref.Repo)
	if err := os.MkdirAll(r.path("blobs"), 0o777); err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	// Nobody prunes this commit meanwhile.
	hold, err := holdCommit(ctx, r, p.Commit)
	if err != nil {
		return "", err
	}
	defer hold()

	report := c.reporter()
	var missing []File
	for _, f := range p.Files {
		if r.complete(p.Commit, f.Path) {
			report(Progress{File: f.Path, Done: f.Size, Total: f.Size})
		} else {
			missing = append(missing, f)
		}
	}
	if err := c.checkSpace(r, missing); err != nil {
		return "", err
	}
	// Small files first: where the weights are, the rest is too.
	slices.SortStableFunc(missing, func(a, b File) int { return cmp.Compare(a.Size, b.Size) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.parallel())
	for _, f := range missing {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return c.fetch(ctx, p, f, report)
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	if err := r.setRef(p.Ref.revision(), p.Commit); err != nil {
		return "", fmt.Errorf("hub: %s: %w", p.Ref, err)
	}
	var names []string
	for _, f := range p.Files {
		names = append(names, f.Path)
	}
	return r.open(p.Commit, p.Ref, names), nil
}

// reporter makes calls of Progress one after another.
func (c *Client) reporter() func(Progress) {
	if c.Progress == nil {
		return func(Progress) {}
	}
	var mu sync.Mutex
	return func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		c.Progress(p)
	}
}

// checkSpace refuses a download that the disk cannot hold.
func (c *Client) checkSpace(r repo, files []File) error {
	free := c.free
	if free == nil {
		free = freeSpace
	}
	var need int64
	for _, f := range files {
		need += max(f.Size, 0)
	}
	// Parts that are already there need no more room.
	partial, _ := os.ReadDir(r.path("blobs"))
	for _, e := range partial {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".incomplete") {
			need -= info.Size()
		}
	}
	have, err := free(r.path("blobs"))
	if err != nil || need <= have {
		return nil // where the system does not tell, writing will
	}
	return fmt.Errorf("hub: %w: %s needs %d MB more and %s has %d MB; free some or set HF_HOME", ErrNoSpace, r.folder, need>>20, r.cache, have>>20)
}

// remote is what the hub says about a file.
type remote struct {
	etag string
	size int64 // -1 if it does not say
	sum  checksum
}

// describe asks for a file's name in the cache, its size and its checksum.
func (c *Client) describe(ctx context.Context, p *Plan, f File) (remote, error) {
	u, err := p.fileURL(f.Path)
	if err != nil {
		return remote{}, err
	}
	what := p.Ref.Repo + ":" + f.Path
	var m remote
	err = c.retry(ctx, func(ctx context.Context) (bool, error) {
		ctx, watch := c.watch(ctx)
		defer watch.stop()
		resp, err := c.do(ctx, http.MethodHead, u, nil, true)
		if err != nil {
			return false, watch.err(err)
		}
		defer drain(resp)
		if resp.StatusCode >= 400 {
			return false, statusError(what, resp, c.Token != "")
		}
		if commit := resp.Header.Get("X-Repo-Commit"); commit != "" && commit != p.Commit {
			return false, fmt.Errorf("hub: %s: the hub answers for commit %.40q in place of %s", what, commit, p.Commit)
		}
		m, err = describe(resp)
		if err != nil {
			return false, fmt.Errorf("hub: %s: %w", what, err)
		}
		return true, nil
	})
	if err == nil && f.Size >= 0 && m.size >= 0 && m.size != f.Size {
		err = fmt.Errorf("hub: %s: %d bytes in one answer of the hub, %d in another", what, f.Size, m.size)
	}
	if m.size < 0 {
		m.size = f.Size
	}
	return m, err
}

// describe reads the headers of a HEAD request. Files in large storage are
// described by X-Linked headers, others by the usual ones.
func describe(resp *http.Response) (remote, error) {
	h := resp.Header
	linked := h.Get("X-Linked-Etag") != ""
	tag := cmp.Or(h.Get("X-Linked-Etag"), h.Get("ETag"))
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	if !etagName.MatchString(tag) || strings.HasSuffix(tag, ".incomplete") {
		return remote{}, fmt.Errorf("the hub gives no usable etag but %.60q", tag)
	}
	// Only the hub names small files as Git does; another server's tag of that
	// form may be anything.
	ofGit := !linked && h.Get("X-Repo-Commit") != ""
	m := remote{etag: tag, size: -1, sum: checksumOf(tag, ofGit)}
	size := h.Get("X-Linked-Size")
	if size == "" && resp.StatusCode < 300 {
		size = h.Get("Content-Length")
	}
	if size != "" {
		var n int64
		if _, err := fmt.Sscanf(size, "%d", &n); err != nil || n < 0 {
			return remote{}, fmt.Errorf("a size of %.20q", size)
		}
		m.size = n
	}
	return m, nil
}

// fetch brings one file into the cache.
func (c *Client) fetch(ctx context.Context, p *Plan, f File, report func(Progress)) error {
	m, err := c.describe(ctx, p, f)
	if err != nil {
		return err
	}
	r := c.repo(p.Ref.Repo)
	state := Progress{File: f.Path, Total: m.size}
	lock, err := filelock.Wait(ctx, r.lock(m.etag), func() {
		waiting := state
		waiting.Waiting = true
		report(waiting)
	})
	if err != nil {
		return err
	}
	defer lock.Release()

	what := p.Ref.Repo + ":" + f.Path
	if info, err := os.Stat(r.blob(m.etag)); err != nil || m.size >= 0 && info.Size() != m.size {
		u, err := p.fileURL(f.Path)
		if err != nil {
			return err
		}
		d := &download{c: c, url: u, what: what, m: m, path: r.incomplete(m.etag), report: func(n int64) {
			state.Done = n
			report(state)
		}}
		if err := d.run(ctx, r.blob(m.etag)); err != nil {
			return err
		}
	}
	if err := r.link(p.Commit, f.Path, m.etag); err != nil {
		return fmt.Errorf("hub: %s: %w", what, err)
	}
	if state.Total < 0 {
		state.Total = state.Done
	}
	state.Done = state.Total
	report(state)
	return nil
}

// reportEvery is the pause between two reports about one file.
const reportEvery = 50 * time.Millisecond
