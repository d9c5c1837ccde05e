package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/trit-ml/trit/models/checkpoint"
	"github.com/trit-ml/trit/models/hub"
)

type pullCmd struct {
	Model   string `arg:"" help:"OWNER/REPO, OWNER/REPO:FILE.gguf, with @REVISION behind the name."`
	Offline bool   `help:"Use what the cache holds."`
}

func (pullCmd) Help() string {
	return `HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are obeyed; the cache is shared with huggingface_hub.
Example:
  trit pull microsoft/bitnet-b1.58-2B-4T`
}

func (c *pullCmd) Run(e *env) error {
	path, err := fetch(e, c.Model, c.Offline)
	if err == nil {
		_, err = fmt.Fprintln(e.out, path)
	}
	return err
}

// isHubName reports whether a MODEL that is no file looks like one on the hub.
func isHubName(name string) bool {
	if _, err := os.Stat(name); err == nil || filepath.IsAbs(name) || strings.HasPrefix(name, ".") {
		return false
	}
	_, err := hub.ParseRef(name)
	return err == nil
}

// fetch returns the path of a model on the hub, downloading what the cache
// lacks. A model that trit cannot run is refused before its weights are fetched.
func fetch(e *env, name string, offline bool) (string, error) {
	ref, err := hub.ParseRef(name)
	if err != nil {
		return "", err
	}
	client, err := hub.New()
	if err != nil {
		return "", err
	}
	client.Offline = client.Offline || offline
	path, err := client.Local(ref)
	if err == nil || client.Offline {
		return path, err
	}
	plan, err := client.Plan(e.ctx, ref)
	if err != nil {
		return "", err
	}
	if err := supported(e.ctx, plan); err != nil {
		return "", fmt.Errorf("%s is not supported: %w", ref, err)
	}
	bars := newDownloads(e.err)
	client.Progress = bars.show
	path, err = client.Pull(e.ctx, plan)
	bars.close()
	return path, err
}

// supported judges a model by its configuration or by the header of its GGUF
// file.
func supported(ctx context.Context, plan *hub.Plan) error {
	main := plan.Main()
	if !strings.HasSuffix(main.Path, ".gguf") {
		text, err := plan.Head(ctx, main, 1<<20)
		if err == nil {
			_, err = checkpoint.ProbeConfig(text)
		}
		return err
	}
	for n := 1 << 20; ; n *= 4 {
		head, err := plan.Head(ctx, main, n)
		if err != nil {
			return err
		}
		if _, err = checkpoint.ProbeGGUF(head, main.Size); !errors.Is(err, io.ErrUnexpectedEOF) || len(head) < n {
			return err
		}
	}
}

// downloads shows files on their way: bars on a terminal, a line a file
// elsewhere.
type downloads struct {
	w     io.Writer
	bars  *mpb.Progress
	files map[string]*mpb.Bar
	said  map[string]bool
}

func newDownloads(w io.Writer) *downloads {
	d := &downloads{w: w, files: map[string]*mpb.Bar{}, said: map[string]bool{}}
	if isTerminal(w) {
		d.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return d
}

func (d *downloads) show(p hub.Progress) {
	if d.bars == nil {
		if p.Done == p.Total && !d.said[p.File] {
			d.said[p.File] = true
			fmt.Fprintf(d.w, "%s: %d bytes\n", p.File, p.Total)
		}
		return
	}
	bar := d.files[p.File]
	if bar == nil {
		bar = d.bars.AddBar(p.Total, mpb.PrependDecorators(decor.Name(p.File)),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
		d.files[p.File] = bar
	}
	bar.SetCurrent(p.Done)
}

func (d *downloads) close() {
	if d.bars == nil {
		return
	}
	for _, b := range d.files {
		if !b.Completed() {
			b.Abort(false)
		}
	}
	d.bars.Wait()
}

type cacheCmd struct {
	Ls    cacheLsCmd    `cmd:"" help:"List the models in the hub's cache, least recently used first."`
	Prune cachePruneCmd `cmd:"" help:"Delete the least recently used models."`
}

type cacheLsCmd struct{}

func (cacheLsCmd) Help() string { return "Example:\n  trit cache ls" }

func (cacheLsCmd) Run(e *env) error {
	client, err := hub.New()
	if err != nil {
		return err
	}
	entries, err := client.List()
	if err != nil {
		return err
	}
	total, err := client.Usage()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	printEntries(w, entries)
	fmt.Fprintf(w, "in all\t\t%.1f MB\t%s\n", float64(total)/1e6, client.Cache)
	return w.Flush()
}

func printEntries(w io.Writer, entries []hub.Entry) {
	for _, x := range entries {
		fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%s\n", x.Repo, x.Commit[:min(12, len(x.Commit))], float64(x.Bytes)/1e6, x.Used.Format("2006-01-02 15:04"))
	}
}

type cachePruneCmd struct {
	Keep float64 `arg:"" help:"Gigabytes that may stay; 0 deletes everything that is not in use."`
}

func (cachePruneCmd) Help() string { return "Example:\n  trit cache prune 20" }

func (c *cachePruneCmd) Run(e *env) error {
	if c.Keep < 0 {
		return fmt.Errorf("cannot keep %g gigabytes", c.Keep)
	}
	client, err := hub.New()
	if err != nil {
		return err
	}
	gone, err := client.Prune(int64(c.Keep * 1e9))
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	printEntries(w, gone)
	fmt.Fprintf(w, "%d models deleted\n", len(gone))
	return errors.Join(err, w.Flush())
}
