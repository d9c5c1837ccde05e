package conformance

import (
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
)

// arrays are shapes with the parts that broadcasts repeat.
var arrays = []struct{ small, big []int }{
	{[]int{}, []int{}}, {[]int{1}, []int{5}}, {[]int{1, 7}, []int{6, 7}}, {[]int{6, 1}, []int{6, 70}},
	{[]int{3, 5}, []int{3, 5}}, {[]int{1, 1}, []int{9, 33}}, {[]int{1, 4, 1}, []int{3, 4, 5}},
	{[]int{2, 1, 5}, []int{2, 3, 5}}, {[]int{1, 1, 200}, []int{7, 3, 200}}, {[]int{4, 1, 1}, []int{4, 8, 9}},
}

func broadcast(r *Rand) []Case {
	var cs []Case
	for _, a := range arrays {
		for _, mean := range []bool{false, true} {
			to := ops.BroadcastAttrs{Shape: graph.Dims(a.big...).String(), Mean: mean}
			cs = append(cs, Case{Attrs: to, In: []graph.Tensor{r.F32(a.small...)}})
		}
	}
	return cs
}

func broadcastGrad(r *Rand) []Case {
	var cs []Case
	for _, a := range arrays {
		for _, mean := range []bool{false, true} {
			to := ops.BroadcastAttrs{Shape: graph.Dims(a.small...).String(), Mean: mean}
			cs = append(cs, Case{Attrs: to, In: []graph.Tensor{r.F32(a.big...)}})
		}
	}
	return cs
}

func sumAxis(r *Rand) []Case {
	var cs []Case
	for _, d := range [][]int{{1}, {77}, {5, 3}, {1, 130}, {200, 65}, {3, 4, 5}, {2, 70, 130}, {2, 3, 4, 5}} {
		for axis := range d {
			for _, mean := range []bool{false, true} {
				cs = append(cs, Case{Attrs: ops.AxisSumAttrs{Axis: axis, Mean: mean}, In: []graph.Tensor{r.F32(d...)}})
			}
		}
	}
	return cs
}

func transpose(r *Rand) []Case {
	var cs []Case
	for _, d := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {33, 65}, {64, 32}, {200, 31}} {
		for _, perm := range []string{"1 0", "0 1"} {
			cs = append(cs, Case{Attrs: ops.TransposeAttrs{Perm: perm}, In: []graph.Tensor{r.F32(d[0], d[1])}})
		}
	}
	for _, perm := range []string{"1 0 2", "0 2 1", "2 1 0", "0 1 2"} {
		cs = append(cs, Case{Attrs: ops.TransposeAttrs{Perm: perm}, In: []graph.Tensor{r.F32(4, 3, 17)}})
	}
	return append(cs, Case{Attrs: ops.TransposeAttrs{Perm: "2 0 1 3"}, In: []graph.Tensor{r.F32(2, 3, 4, 5)}})
}
