package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

var defaultHTTP = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	ForceAttemptHTTP2:     true,
	MaxIdleConnsPerHost:   8,
	IdleConnTimeout:       90 * time.Second,
	TLSHandshakeTimeout:   15 * time.Second,
	ResponseHeaderTimeout: 60 * time.Second,
}}

const maxRedirects = 10

// do sends a request without a body. It follows redirects itself, because the
// token must go to the hub's host only; with stay it returns the first redirect
// to another host, whose headers describe the file.
func (c *Client) do(ctx context.Context, method string, u *url.URL, header http.Header, stay bool) (*http.Response, error) {
	base, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	client := *defaultHTTP
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return nil, err
		}
		for k, v := range header {
			req.Header[k] = v
		}
		// A file's bytes and their count are wanted, not a compressed form.
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("User-Agent", "trit")
		if c.Token != "" && sameOrigin(u, base) {
			req.Header.Set("Authorization", "Bearer "+c.Token)
		}
		resp, err := client.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, &transient{err: fmt.Errorf("hub: %w", withoutQuery(err))}
		}
		next, err := resp.Location()
		if resp.StatusCode < 300 || resp.StatusCode > 399 || resp.StatusCode == http.StatusNotModified || err != nil {
			return resp, nil
		}
		if described := resp.Header.Get("X-Linked-Etag") != "" || resp.Header.Get("ETag") != ""; stay && described && next.Host != u.Host {
			return resp, nil
		}
		drain(resp)
		if u.Scheme == "https" && next.Scheme != "https" {
			return nil, fmt.Errorf("hub: %s redirects to %s, which is not encrypted", u.Host, next.Host)
		}
		u = next
	}
	return nil, fmt.Errorf("hub: %s: more than %d redirects", u.Host, maxRedirects)
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// withoutQuery takes the query out of a URL in an error: that of a signed URL
// is a secret for its time.
func withoutQuery(err error) error {
	var ue *url.Error
	if !errors.As(err, &ue) {
		return err
	}
	if u, perr := url.Parse(ue.URL); perr == nil {
		u.RawQuery = ""
		return &url.Error{Op: ue.Op, URL: u.String(), Err: ue.Err}
	}
	return ue.Err
}

// retry calls op until it succeeds, fails for good, or failed too often in a
// row without progress.
func (c *Client) retry(ctx context.Context, op func(ctx context.Context) (progress bool, err error)) error {
	wait := c.first()
	for failures := 0; ; {
		progress, err := op(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var t *transient
		if !errors.As(err, &t) {
			return err
		}
		if progress {
			failures, wait = 0, c.first()
		}
		if failures++; failures >= c.attempts() {
			return &transient{err: fmt.Errorf("%w (after %d tries)", t.err, failures)}
		}
		// Half of the wait is random, so that clients do not come back together.
		pause := max(wait/2+rand.N(wait/2+1), t.after)
		if wait *= 2; wait > 64*c.first() {
			wait = 64 * c.first()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// get returns a whole small body.
func (c *Client) get(ctx context.Context, what string, u *url.URL, header http.Header, limit int64) (body []byte, err error) {
	err = c.retry(ctx, func(ctx context.Context) (bool, error) {
		ctx, watch := c.watch(ctx)
		defer watch.stop()
		resp, err := c.do(ctx, http.MethodGet, u, header, false)
		if err != nil {
			return false, watch.err(err)
		}
		defer drain(resp)
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
			return false, statusError(what, resp, c.Token != "")
		}
		body, err = io.ReadAll(io.LimitReader(watch.reader(resp.Body), limit+1))
		if err != nil {
			return false, watch.err(&transient{err: fmt.Errorf("hub: %s: %w", what, err)})
		}
		if int64(len(body)) > limit {
			return false, fmt.Errorf("hub: %s: an answer of more than %d bytes", what, limit)
		}
		return true, nil
	})
	return body, err
}

// watchdog ends a request that brings nothing for too long.
type watchdog struct {
	timer  *time.Timer
	after  time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context
}

var errStall = errors.New("the connection brings nothing")

func (c *Client) watch(ctx context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{after: c.stall(), cancel: cancel, ctx: ctx}
	w.timer = time.AfterFunc(w.after, func() { cancel(errStall) })
	return ctx, w
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// err makes an error that the watchdog caused a transient one.
func (w *watchdog) err(err error) error {
	if context.Cause(w.ctx) == errStall {
		return &transient{err: fmt.Errorf("hub: %w for %v", errStall, w.after)}
	}
	return err
}

// reader keeps the watchdog quiet while bytes come.
func (w *watchdog) reader(r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if n > 0 {
			w.timer.Reset(w.after)
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
