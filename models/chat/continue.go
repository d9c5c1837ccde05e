package chat

import (
	"context"
	"strings"

	"github.com/trit-ml/trit/models/tokenizer"
)

// Continue returns how to go on with a conversation after the model has read
// the ids fed: it keeps the first keep of them and reads more behind those. fed
// is what [Format.Encode] or Continue returned for the earlier turns, followed
// by the ids that the model answered with, with or without the token that ended
// the answer. messages is the whole conversation, that answer included.
//
// The ids that the model itself chose are kept where they spell what the
// template writes, even if the tokenizer would spell it otherwise. They are not
// where the template writes something else, for example without the blanks
// around an answer; then keep < len(fed) and the rest has to be read again.
func (f *Format) Continue(ctx context.Context, fed []int32, messages []Message) (keep int, more []int32, err error) {
	runs, err := f.render(ctx, messages, true)
	if err != nil {
		return 0, nil, err
	}
	c := cursor{f: f, runs: runs}
	borders := c // where fed last stood between two runs
	for i, id := range fed {
		if !c.read(id) {
			break
		}
		keep = i + 1
		if c.offset == 0 {
			borders = c
			borders.fed = keep
		}
	}
	if keep == len(fed) && !c.done() {
		return keep, f.encode(nil, c.rest()), nil
	}
	// The ids stopped to fit in the middle of a text: go back to its beginning,
	// unless the tokenizer's own ids agree for longer. One token at least must
	// be read for the model to say anything.
	all := f.encode(nil, runs)
	common := 0
	for common < len(fed) && common < len(all)-1 && fed[common] == all[common] {
		common++
	}
	if common >= borders.fed || borders.done() {
		return common, all[common:], nil
	}
	return borders.fed, f.encode(nil, borders.rest()), nil
}

// cursor is a place in rendered text.
type cursor struct {
	f      *Format
	runs   []run // from the current one
	offset int   // in the current run
	fed    int
}

func (c *cursor) done() bool { return len(c.runs) == 0 }

// read moves over a token if the text goes on with it. A token never reaches
// over the border of a run.
func (c *cursor) read(id int32) bool {
	if c.done() {
		return false
	}
	r := c.runs[0]
	if r.special {
		if id != r.id {
			return false
		}
		c.runs = c.runs[1:]
		return true
	}
	token := c.f.tok.Token(id)
	if token == "" || c.f.tok.Kind(id) == tokenizer.Control || !strings.HasPrefix(r.text[c.offset:], token) {
		return false
	}
	if c.offset += len(token); c.offset == len(r.text) {
		c.runs, c.offset = c.runs[1:], 0
	}
	return true
}

// rest returns the runs behind the cursor.
func (c *cursor) rest() []run {
	if c.offset == 0 {
		return c.runs
	}
	rest := append([]run(nil), c.runs...)
	rest[0].text = rest[0].text[c.offset:]
	return rest
}
