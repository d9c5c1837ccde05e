package hub

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

var (
	// ErrNotFound is wrapped by errors about a repository, revision or file that
	// the hub does not have, or does not show without the right token.
	ErrNotFound = errors.New("not found")
	// ErrDenied is wrapped by errors about a token that is missing or that may
	// not read the repository.
	ErrDenied = errors.New("access denied")
	// ErrOffline is wrapped by errors about something that is not in the cache
	// while the network may not be used.
	ErrOffline = errors.New("not in the cache, and offline")
	// ErrChecksum is wrapped by errors about a file whose content is not what the
	// hub says it is.
	ErrChecksum = errors.New("wrong checksum")
	// ErrNoSpace is wrapped by errors about a disk without room for the files.
	ErrNoSpace = errors.New("no space left on the disk")
)

// transient is an error after which another try may succeed.
type transient struct {
	err   error
	after time.Duration // the server's wish, 0 if it has none
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// statusError describes an answer that is not a success.
func statusError(what string, resp *http.Response, hasToken bool) error {
	code := resp.Header.Get("X-Error-Code")
	detail := resp.Header.Get("X-Error-Message")
	if detail == "" {
		detail = resp.Status
	}
	tokenHint := "set HF_TOKEN if it is private"
	if hasToken {
		tokenHint = "the token may not see it"
	}
	switch s := resp.StatusCode; {
	case code == "GatedRepo" || s == http.StatusForbidden:
		return fmt.Errorf("hub: %s: %w: %s; the owner may ask to accept terms on the model's page first", what, ErrDenied, detail)
	case code == "RepoNotFound":
		return fmt.Errorf("hub: %s: the repository is %w; check the name, and %s", what, ErrNotFound, tokenHint)
	case code == "RevisionNotFound":
		return fmt.Errorf("hub: %s: the revision is %w", what, ErrNotFound)
	case s == http.StatusUnauthorized:
		return fmt.Errorf("hub: %s: %w: %s; %s", what, ErrDenied, detail, tokenHint)
	case code == "EntryNotFound", s == http.StatusNotFound:
		return fmt.Errorf("hub: %s: %w: %s", what, ErrNotFound, detail)
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500:
		return &transient{fmt.Errorf("hub: %s: %s", what, detail), retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	return fmt.Errorf("hub: %s: %s", what, detail)
}

// maxRetryAfter bounds how long a server can make a client wait.
const maxRetryAfter = time.Hour

// retryAfter reads seconds or a date.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return min(time.Duration(min(n, 1<<20))*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return min(t.Sub(now), maxRetryAfter)
	}
	return 0
}

// drain reads a little of a body that nobody needs, so that its connection can
// be used again, and closes it.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}
