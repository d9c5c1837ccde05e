package jinja

import (
	"context"
	"errors"
	"fmt"
)

// Limits bound one rendering; zero fields take those of [DefaultLimits].
type Limits struct {
	Steps int // evaluated nodes and iterations; handling 64 bytes is a step too
	Bytes int // made in total: the output, and every value on the way
}

// DefaultLimits suffice for conversations of size bytes many times over and end
// a template without end within a second or so.
func DefaultLimits(size int) Limits {
	return Limits{Steps: 2<<20 + 16*size, Bytes: 32<<20 + 64*size}
}

const (
	maxSource  = 256 << 10 // published templates have at most some 20 KB
	maxNesting = 100       // of brackets, tags and operators in the text
	maxDepth   = 1500      // of evaluation, macros included; a level takes < 1 KB of stack
)

// Error is an error at a line of a template.
type Error struct {
	Line int
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Raised is the error of a template that refuses its input by
// raise_exception(message).
type Raised struct{ Message string }

func (r *Raised) Error() string { return r.Message }

// at puts the line to an error that has none yet.
func at(line int, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &Error{line, err}
}

// run is the state of one rendering.
type run struct {
	ctx    context.Context
	limits Limits

	filters map[string]filterFunc

	steps int
	bytes int
	depth int
}

// step counts n steps.
func (r *run) step(n int) error {
	before := r.steps
	r.steps += n
	if r.steps > r.limits.Steps {
		return fmt.Errorf("the template takes more than %d steps; it seems to have no end", r.limits.Steps)
	}
	if before>>10 != r.steps>>10 {
		return context.Cause(r.ctx)
	}
	return nil
}

// look counts the work of reading n bytes.
func (r *run) look(n int) error { return r.step(n >> 6) }

// take counts n bytes that are about to be made.
func (r *run) take(n int) error {
	if n < 0 || n > r.limits.Bytes-r.bytes {
		return fmt.Errorf("the template makes more than %d bytes of text", r.limits.Bytes)
	}
	r.bytes += n
	return r.look(n)
}

// enter counts a level of nesting until leave.
func (r *run) enter() error {
	if r.depth++; r.depth > maxDepth {
		return errors.New("the template nests too deep; a macro may call itself without end")
	}
	return r.step(1)
}

func (r *run) leave() { r.depth-- }
