package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Client fetches from one hub into one cache. Set the fields before first use;
// it is safe for concurrent use then.
type Client struct {
	Endpoint string // URL of the hub, without a slash at the end
	Token    string // sent to the hub's own host; may be empty
	Cache    string // folder that holds models--OWNER--REPO
	Offline  bool   // never use the network

	Parallel int            // files fetched at once; 0 means 4
	Attempts int            // tries in a row that bring no byte; 0 means 6
	Stall    time.Duration  // a connection without a byte for so long is given up; 0 means 30 s
	Progress func(Progress) // called often, never twice at the same time; may be nil

	HTTP *http.Client // nil means one of its own; its redirect policy is not used

	// For tests.
	backoff time.Duration // first wait between tries; 0 means half a second
	free    func(dir string) (int64, error)
}

// Progress is the state of one file.
type Progress struct {
	File        string
	Done, Total int64 // bytes; Done begins with what was there before
	Waiting     bool  // another process is fetching this file
}

// New returns a client for the environment, as the library for Python reads it:
// HF_ENDPOINT, HF_TOKEN or the file HF_TOKEN_PATH, HF_HUB_CACHE or HF_HOME (which
// holds token and hub), HF_HUB_OFFLINE.
func New() (*Client, error) { return fromEnv(os.Getenv, os.UserHomeDir) }

func fromEnv(getenv func(string) string, userHome func() (string, error)) (*Client, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := strings.TrimSpace(getenv(n)); v != "" {
				return v
			}
		}
		return ""
	}
	c := &Client{
		Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Token:    first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
		Cache:    first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
	}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	user, userErr := userHome()
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~/"); ok && userErr == nil {
			return filepath.Join(user, rest)
		}
		return path
	}
	home := first("HF_HOME")
	if home == "" {
		cache := first("XDG_CACHE_HOME")
		if cache == "" && userErr == nil {
			cache = filepath.Join(user, ".cache")
		}
		if cache != "" {
			home = filepath.Join(cache, "huggingface")
		}
	}
	home = expand(home)
	switch {
	case c.Cache != "":
		c.Cache = expand(c.Cache)
	case home != "":
		c.Cache = filepath.Join(home, "hub")
	default:
		return nil, fmt.Errorf("hub: no folder for the cache; set HF_HOME: %w", userErr)
	}
	if c.Token == "" {
		path := expand(first("HF_TOKEN_PATH"))
		if path == "" && home != "" {
			path = filepath.Join(home, "token")
		}
		token, err := readToken(path)
		if err != nil {
			return nil, err
		}
		c.Token = token
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("hub: the token contains characters that no token has")
	}
	return c, nil
}

func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hub: token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// isTrue reads a flag as the library for Python does.
func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// endpoint checks and returns the hub's URL.
func (c *Client) endpoint() (*url.URL, error) {
	raw := c.Endpoint
	if raw == "" {
		raw = DefaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil {
		return nil, fmt.Errorf("hub: endpoint: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("hub: the endpoint %q is no http or https URL", raw)
	}
	return u, nil
}

func (c *Client) parallel() int        { return orDefault(c.Parallel, 4) }
func (c *Client) attempts() int        { return orDefault(c.Attempts, 6) }
func (c *Client) stall() time.Duration { return orDefault(c.Stall, 30*time.Second) }
func (c *Client) first() time.Duration { return orDefault(c.backoff, 500*time.Millisecond) }
func orDefault[T int | time.Duration](v, d T) T {
	if v > 0 {
		return v
	}
	return d
}
