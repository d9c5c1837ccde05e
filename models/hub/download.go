package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// checksum is how a file is checked against its etag.
type checksum uint8

const (
	unchecked checksum = iota // a tag that is no hash, of another kind of server
	sha256Sum                 // of the content
	gitSum                    // SHA-1 of Git's header and the content
)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checksumOf tells the kind by the tag's form: large files have SHA-256, others
// the name that Git gives them.
func checksumOf(etag string, ofGit bool) checksum {
	switch {
	case sha256Hex.MatchString(etag):
		return sha256Sum
	case ofGit && commitHash.MatchString(etag):
		return gitSum
	}
	return unchecked
}

// start returns a hash to write a content of the given size to.
func (s checksum) start(size int64) hash.Hash {
	switch s {
	case sha256Sum:
		return sha256.New()
	case gitSum:
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
		return h
	}
	return nil
}

// download fetches one blob, whose lock is held.
type download struct {
	c      *Client
	url    *url.URL
	what   string
	m      remote
	path   string // of the incomplete file
	report func(done int64)

	file  *os.File
	hash  hash.Hash // of the n bytes; nil without a checksum
	n     int64
	wrong bool // a whole content with the wrong checksum was seen
}

// run fetches the content and gives it its name.
func (d *download) run(ctx context.Context, blob string) error {
	if err := d.open(); err != nil {
		return fmt.Errorf("hub: %s: %w", d.what, err)
	}
	defer d.file.Close()
	d.report(d.n)
	if err := d.c.retry(ctx, d.try); err != nil {
		return err
	}
	err := d.file.Sync()
	if cerr := d.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(d.path, blob)
	}
	if err != nil {
		return d.writeError(err)
	}
	return nil
}

// open takes up what an earlier download left.
func (d *download) open() error {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	d.file, d.hash = f, d.m.sum.start(d.m.size)
	var w io.Writer = io.Discard
	if d.hash != nil {
		w = d.hash
	}
	in := io.Reader(f)
	if d.m.size >= 0 {
		in = io.LimitReader(f, d.m.size+1)
	}
	if d.n, err = io.Copy(w, in); err != nil {
		f.Close()
		return err
	}
	// More than there is, or a hash that needs a size that is not known.
	if d.m.size >= 0 && d.n > d.m.size || d.m.size < 0 && d.m.sum == gitSum {
		if d.m.size < 0 {
			d.m.sum = unchecked
		}
		if err := d.restart(); err != nil {
			f.Close()
			return err
		}
	}
	return nil
}

// restart forgets everything that was fetched.
func (d *download) restart() error {
	d.n, d.hash = 0, d.m.sum.start(d.m.size)
	if err := d.file.Truncate(0); err != nil {
		return err
	}
	_, err := d.file.Seek(0, io.SeekStart)
	return err
}

// try fetches as much of the rest as one answer brings.
func (d *download) try(ctx context.Context) (progress bool, err error) {
	if d.m.size >= 0 && d.n == d.m.size {
		return false, d.check()
	}
	ctx, watch := d.c.watch(ctx)
	defer watch.stop()
	header := http.Header{}
	if d.n > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.n))
	}
	resp, err := d.c.do(ctx, http.MethodGet, d.url, header, false)
	if err != nil {
		return false, watch.err(err)
	}
	defer resp.Body.Close()
	ended, err := d.accept(resp)
	if err != nil || ended {
		return false, err
	}
	before := d.n
	err = d.copy(watch.reader(resp.Body))
	progress = d.n > before
	switch {
	case err != nil:
		return progress, watch.err(err)
	case d.m.size >= 0 && d.n < d.m.size:
		return progress, &transient{err: fmt.Errorf("hub: %s: the connection ended at byte %d of %d", d.what, d.n, d.m.size)}
	}
	return progress, d.check()
}

// accept looks at an answer's head and puts the file to where its body belongs.
// ended is true if there is no more to come.
func (d *download) accept(resp *http.Response) (ended bool, err error) {
	total := int64(-1)
	switch resp.StatusCode {
	case http.StatusOK:
		total = resp.ContentLength
		if d.n > 0 {
			if err := d.restart(); err != nil {
				return false, d.writeError(err)
			}
		}
	case http.StatusPartialContent:
		var from, to int64
		got := resp.Header.Get("Content-Range")
		if _, err := fmt.Sscanf(got, "bytes %d-%d/", &from, &to); err != nil || from != d.n {
			if rerr := d.restart(); rerr != nil {
				return false, d.writeError(rerr)
			}
			return false, &transient{err: fmt.Errorf("hub: %s: the server sends the range %.60q", d.what, got)}
		}
		if _, after, ok := strings.Cut(got, "/"); ok && after != "*" {
			fmt.Sscanf(after, "%d", &total)
		}
	case http.StatusRequestedRangeNotSatisfiable:
		// There is nothing behind what we have. If that is not what we know, begin anew.
		var size int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes */%d", &size); err == nil && size == d.n && d.m.size < 0 {
			return true, d.check()
		}
		if err := d.restart(); err != nil {
			return false, d.writeError(err)
		}
		return false, &transient{err: fmt.Errorf("hub: %s: the server refuses the range", d.what)}
	default:
		return false, statusError(d.what, resp, d.c.Token != "")
	}
	if d.m.size >= 0 && total >= 0 && total != d.m.size {
		return false, &transient{err: fmt.Errorf("hub: %s: the server sends a file of %d bytes in place of %d", d.what, total, d.m.size)}
	}
	return false, nil
}

// copy writes the body to the file and the hash.
func (d *download) copy(body io.Reader) error {
	buf := make([]byte, 256<<10)
	next := time.Now()
	for {
		n, rerr := body.Read(buf)
		if d.m.size >= 0 && int64(n) > d.m.size-d.n {
			return &transient{err: fmt.Errorf("hub: %s: the server sends more than %d bytes", d.what, d.m.size)}
		}
		w, err := d.file.Write(buf[:n])
		if d.hash != nil {
			d.hash.Write(buf[:w])
		}
		d.n += int64(w)
		if err != nil {
			return d.writeError(err)
		}
		if now := time.Now(); now.After(next) {
			d.report(d.n)
			next = now.Add(reportEvery)
		}
		switch {
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return &transient{err: fmt.Errorf("hub: %s: %w", d.what, rerr)}
		}
	}
}

// check compares the whole content with its name. A first mismatch may come
// from damage in what an earlier run left, so it is fetched once more.
func (d *download) check() error {
	if d.hash == nil {
		return nil
	}
	sum := hex.EncodeToString(d.hash.Sum(nil))
	if sum == d.m.etag {
		return nil
	}
	if err := d.restart(); err != nil {
		return d.writeError(err)
	}
	err := fmt.Errorf("hub: %s: %w: %s in place of %s", d.what, ErrChecksum, sum, d.m.etag)
	if d.wrong {
		return err
	}
	d.wrong = true
	return &transient{err: err}
}

// writeError explains an error of the disk. What was written stays.
func (d *download) writeError(err error) error {
	if isDiskFull(err) {
		return fmt.Errorf("hub: %s: %w at byte %d of %d; it goes on from there when there is room", d.what, ErrNoSpace, d.n, d.m.size)
	}
	return fmt.Errorf("hub: %s: %w", d.what, err)
}
