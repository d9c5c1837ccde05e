package train

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/internal/safetensors"
	"github.com/trit-ml/trit/ops"
)

// A moment that is cut among processes is stored in pieces, each under the
// moment's name and its elements, as in "adam.m/w[128:192]". Pieces can be joined
// and cut again for any number of processes.

// momentEntries lists the optimizer's tensors that this process writes, by name.
func momentEntries(s State) []safetensors.Entry {
	var entries []safetensors.Entry
	for _, name := range slices.Sorted(maps.Keys(s.Moments)) {
		t := s.Moments[name]
		if s.Parts <= 1 {
			entries = append(entries, safetensors.EntryOf(name, t))
			continue
		}
		whole := s.Weights[paramOf(name)]
		if slices.Equal(t.Dims, whole.Dims) { // the same in all processes
			if s.Part == 0 {
				entries = append(entries, safetensors.EntryOf(name, t))
			}
			continue
		}
		from, to := ops.PartBounds(whole.Len(), s.Part, s.Parts)
		if from == to {
			continue // more processes than elements
		}
		piece := graph.Tensor{Elem: t.Elem, Dims: []int{to - from}, Data: t.Data[:(to-from)*t.Elem.Size()]}
		entries = append(entries, safetensors.EntryOf(fmt.Sprintf("%s[%d:%d]", name, from, to), piece))
	}
	return entries
}

// paramOf is the param that a moment belongs to.
func paramOf(moment string) string {
	_, param, _ := strings.Cut(moment, "/")
	return param
}

// piece is some elements of a moment.
type piece struct {
	from, to int
	t        graph.Tensor
}

// parsePiece takes a stored name apart.
func parsePiece(stored string) (name string, from, to int, ok bool) {
	open := strings.LastIndexByte(stored, '[')
	if open < 0 || !strings.HasSuffix(stored, "]") {
		return stored, 0, 0, false
	}
	a, b, _ := strings.Cut(stored[open+1:len(stored)-1], ":")
	from, errA := strconv.Atoi(a)
	to, errB := strconv.Atoi(b)
	if errA != nil || errB != nil {
		return stored, 0, 0, false
	}
	return stored[:open], from, to, true
}

// joinPieces makes whole moments, of the shapes of their params.
func joinPieces(stored, weights map[string]graph.Tensor) (map[string]graph.Tensor, error) {
	moments := map[string]graph.Tensor{}
	pieces := map[string][]piece{}
	for key, t := range stored {
		if name, from, to, ok := parsePiece(key); ok {
			pieces[name] = append(pieces[name], piece{from, to, t})
		} else {
			moments[key] = t
		}
	}
	for name, ps := range pieces {
		whole, ok := weights[paramOf(name)]
		if !ok {
			return nil, fmt.Errorf("pieces of %q, but there is no such param", name)
		}
		slices.SortFunc(ps, func(a, b piece) int { return cmp.Compare(a.from, b.from) })
		out := graph.NewTensor(whole.Elem, whole.Dims...)
		at := 0
		for _, p := range ps {
			if p.from != at || p.t.Elem != whole.Elem || p.t.Len() != p.to-p.from || p.to > whole.Len() {
				return nil, fmt.Errorf("%s: a piece [%d:%d] of %s%v where [%d: is next, of %d", name, p.from, p.to, p.t.Elem, p.t.Dims, at, whole.Len())
			}
			copy(out.Data[at*whole.Elem.Size():], p.t.Data)
			at = p.to
		}
		if at != whole.Len() {
			return nil, fmt.Errorf("%s: its pieces end at %d of %d", name, at, whole.Len())
		}
		moments[name] = out
	}
	return moments, nil
}

// cutMoments keeps this process's part of each moment.
func cutMoments(s State) {
	for name, t := range s.Moments {
		if strings.HasPrefix(name, Master) {
			continue
		}
		from, to := ops.PartBounds(t.Len(), s.Part, s.Parts)
		out := graph.NewTensor(t.Elem, ops.PartSize(t.Len(), s.Parts))
		copy(out.Data, t.Data[from*t.Elem.Size():to*t.Elem.Size()])
		s.Moments[name] = out
	}
}
