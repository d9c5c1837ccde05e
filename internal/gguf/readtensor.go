package gguf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

func (r *reader) tensor(h *Header) error {
	start := r.at
	name, err := r.name(maxName)
	if err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if _, dup := h.names[name]; dup {
		r.at = start
		return fmt.Errorf("name %q occurs twice", name)
	}
	t, err := r.describe(h)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	t.Name = name
	h.names[name] = len(h.Tensors)
	h.Tensors = append(h.Tensors, t)
	return nil
}

func (r *reader) describe(h *Header) (t Tensor, err error) {
	n, err := r.u32()
	if err != nil {
		return t, err
	}
	if n < 1 || n > maxDims {
		return t, fmt.Errorf("%d dimensions, want 1 to %d", n, maxDims)
	}
	t.Dims = make([]int, n)
	for i := range t.Dims {
		d, err := r.u64()
		if err != nil {
			return t, err
		}
		if d < 1 || d > math.MaxInt32 {
			return t, fmt.Errorf("extent %d of dimension %d is not between 1 and 2^31", d, i)
		}
		t.Dims[len(t.Dims)-1-i] = int(d)
	}
	id, err := r.u32()
	if err != nil {
		return t, err
	}
	t.Type = h.typeOf(id)
	if t.Size, err = t.Type.size(t.Dims); err != nil {
		return t, err
	}
	off, err := r.u64()
	if err != nil {
		return t, err
	}
	if off%uint64(h.Alignment) != 0 {
		return t, fmt.Errorf("offset %d is no multiple of the alignment %d", off, h.Alignment)
	}
	if off > math.MaxInt64/4 {
		return t, fmt.Errorf("offset %d lies outside every file", off)
	}
	t.Offset = int64(off) // relative until place
	return t, nil
}

// typeOf resolves the numbers that forks use differently: 39 is TL2 in
// Microsoft's fork, which alone writes the bitnet-25 and bitnet-b1.58
// architectures, and MXFP4 upstream.
func (h *Header) typeOf(id uint32) Type {
	t := Type(id)
	if t == MXFP4 && strings.HasPrefix(h.Architecture(), "bitnet") {
		return TL2
	}
	if id > math.MaxUint16 {
		return math.MaxUint32 // not a number of this package's own
	}
	return t
}

// place makes offsets absolute and checks that tensors lie in the file and
// apart from each other.
func (h *Header) place(end, size int64) error {
	data := (end + h.Alignment - 1) / h.Alignment * h.Alignment
	order := make([]int, len(h.Tensors))
	for i := range h.Tensors {
		order[i] = i
		t := &h.Tensors[i]
		t.Offset += data
		if least := max(t.Size, 1); t.Offset > size || least > size-t.Offset {
			return fmt.Errorf("tensor %q: bytes %d to %d lie outside the file of %d; the file is truncated or damaged", t.Name, t.Offset, t.Offset+least, size)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(h.Tensors[a].Offset, h.Tensors[b].Offset) })
	for i := 1; i < len(order); i++ {
		a, b := h.Tensors[order[i-1]], h.Tensors[order[i]]
		if a.Offset+max(a.Size, 1) > b.Offset {
			return fmt.Errorf("tensor %q at offset %d overlaps tensor %q at %d", b.Name, b.Offset, a.Name, a.Offset)
		}
	}
	return nil
}
