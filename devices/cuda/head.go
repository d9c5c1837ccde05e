package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops"
	"github.com/trit-ml/trit/ops/screen"
)

// Extents of kernels/head.cu and screen.cu.
const (
	headTokens = 8
	scanRows   = 128
	scanTokens = 16
	pickRows   = 1024
	tokenBytes = 48
	heldKeys   = 2048
)

// orderHead is that of head.cuh: every logit is the same sum, whether the whole
// head is multiplied or a few rows of it.
const orderHead = "warp8"

// headKernels lists the output head and the choice of the likeliest tokens.
func (d *Device) headKernels() []devices.Kernel {
	var rows []devices.Kernel
	for _, elem := range []graph.DType{graph.F32, graph.BF16, graph.F16} {
		rows = append(rows, d.headKernel(elem))
	}
	return append(rows,
		devices.Kernel{
			Name: "screen.planes", Op: screen.PlanesOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error {
				if n := screen.Rows(c.In[0].Dims[0]); n >= 1<<29 || c.In[0].Len() == 0 {
					return fmt.Errorf("%v has too many rows, or nothing in them", c.In[0].Dims)
				}
				return nil
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				n, k := c.In[0].Dims[0], c.In[0].Dims[1]
				sh := shape{blocks: ceilDiv(4*screen.Rows(n), 128), threads: 128}
				return d.bind("screen_planes_"+c.In[0].Elem.String(), sh, c.In[0], c.Out[0], c.Out[1], c.Out[2], int32(n), int32(k), int32(screen.Columns(k)))
			},
		},
		devices.Kernel{
			Name: "screen.keep", Op: screen.KeepOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   d.memoryCost,
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind("screen_keep", shape{blocks: c.In[0].Dims[0], threads: 256}, c.In[0], c.In[1], c.Out[0], int32(c.In[0].Dims[1]))
			},
		},
		devices.Kernel{
			Name: "screen.list", Op: screen.ListOp.OpDef, Needs: sm80,
			Accept: func(c *devices.Call) error { return rowsFit(c.In[0]) },
			Cost:   func(c *devices.Call) float64 { return d.memoryCost(c) * float64(c.Attrs.(screen.ListAttrs).Most) },
			Bind: func(c *devices.Call) (devices.Launch, error) {
				return d.bind("screen_list", shape{blocks: c.In[0].Dims[0], threads: 256}, c.In[0], c.In[1], c.Out[0], c.Out[1],
					int32(c.In[0].Dims[1]), int32(c.Attrs.(screen.ListAttrs).Most))
			},
		},
		devices.Kernel{
			Name: "screen.likeliest", Op: screen.LikeliestOp.OpDef, Needs: sm80, Order: orderHead,
			Accept:  d.likeliestFits,
			Cost:    d.likeliestCost,
			Scratch: func(c *devices.Call) int { return likelyScratch(c).bytes },
			Bind:    d.bindLikeliest,
		},
	)
}

// headKernel is a product with rows of weights as they are stored, for few tokens.
func (d *Device) headKernel(elem graph.DType) devices.Kernel {
	tile := func(c *devices.Call) int {
		if c.In[0].Dims[0] == 1 {
			return 1
		}
		return headTokens
	}
	shared := func(c *devices.Call) int {
		return min(c.In[0].Dims[0], tile(c)) * ceilDiv(c.In[0].Dims[1], 256) * 256 * 4
	}
	return devices.Kernel{
		Name: "head." + elem.String(), Op: ops.MatMulOp.OpDef, Needs: sm80, Order: orderHead,
		Accept: func(c *devices.Call) error {
			a := c.Attrs.(ops.MatMulAttrs)
			switch {
			case a.TA || !a.TB:
				return fmt.Errorf("it takes b transposed and a not")
			case c.In[0].Elem != graph.F32 || c.Out[0].Elem != graph.F32 || c.In[1].Elem != elem:
				return fmt.Errorf("it takes f32 times %s, not %s times %s", elem, c.In[0].Elem, c.In[1].Elem)
			case shared(c) > d.info.SharedPerBlock-staticShared:
				return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", shared(c), d.info.SharedPerBlock-staticShared)
			case ceilDiv(c.In[0].Dims[0], headTokens) > 65535:
				return fmt.Errorf("%d tokens are too many", c.In[0].Dims[0])
			}
			return nil
		},
		Cost: func(c *devices.Call) float64 {
			m := float64(c.In[0].Dims[0])
			memory := float64(c.In[1].Bytes()) / d.info.Bandwidth
			compute := m * float64(c.In[1].Len()) / (float64(d.info.Multiprocessors) * 64 * 1.5e9)
			return launchCost + max(memory, compute)*1e9
		},
		Bind: func(c *devices.Call) (devices.Launch, error) {
			m, k, n := c.In[0].Dims[0], c.In[0].Dims[1], c.In[1].Dims[0]
			sh := shape{blocks: min(ceilDiv(n, 16), 4*d.info.Multiprocessors), tiles: ceilDiv(m, tile(c)), threads: 256, shared: shared(c)}
			return d.bindEarly(fmt.Sprintf("head%d_%s", tile(c), elem), sh, c.In[0], c.In[1], c.Out[0], int32(m), int32(n), int32(k))
		},
	}
}

// likely is the scratch memory of screen.likeliest.
type likely struct {
	codes, tokens, most, least, keys, counts devices.Operand
	tiles, chunks                            int
	bytes                                    int
}

func likelyScratch(c *devices.Call) likely {
	var l likely
	place := func(bytes int) devices.Operand {
		o := devices.Operand{Elem: graph.U8, Dims: []int{bytes}, Buf: c.Scratch.Buf, Off: c.Scratch.Off + l.bytes}
		l.bytes += (bytes + devices.Align - 1) / devices.Align * devices.Align
		return o
	}
	m, n, cols := c.In[0].Dims[0], c.In[2].Dims[0], screen.Columns(c.In[2].Dims[1])
	l.tiles, l.chunks = ceilDiv(n, scanRows), ceilDiv(n, pickRows)
	l.codes, l.tokens = place(2*m*cols), place(m*tokenBytes)
	l.most, l.least = place(4*m*n), place(4*m*l.tiles)
	l.keys, l.counts = place(8*m*l.chunks*pickRows), place(4*m*l.chunks)
	return l
}

func (d *Device) likeliestFits(c *devices.Call) error {
	w := c.In[2]
	if w.Elem != graph.BF16 && w.Elem != graph.F16 {
		return fmt.Errorf("it takes weights of 16 bits, not %s", w.Elem)
	}
	n, k := w.Dims[0], w.Dims[1]
	cols, rows := screen.Columns(k), screen.Rows(n)
	for i, want := range []devices.Operand{
		{Elem: graph.U8, Dims: []int{rows, cols / 2}}, {Elem: graph.U8, Dims: []int{rows, cols / 4}}, {Elem: graph.F32, Dims: []int{n, screen.Bounds}},
	} {
		if got := c.In[3+i]; got.Elem != want.Elem || len(got.Dims) != 2 || got.Dims[0] != want.Dims[0] || got.Dims[1] != want.Dims[1] {
			return fmt.Errorf("operand %d is %s%v, not a plane of the weights: %s%v", 3+i, got.Elem, got.Dims, want.Elem, want.Dims)
		}
	}
	m := c.In[0].Dims[0]
	switch shared := scanShared(m, cols); {
	case n == 0 || k == 0:
		return fmt.Errorf("the weights are empty")
	case shared > d.info.SharedPerBlock-staticShared:
		return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", shared, d.info.SharedPerBlock-staticShared)
	case ceilDiv(n, scanRows) > 65535 || m > 65535:
		return fmt.Errorf("%d rows and %d tokens are too many", n, m)
	}
	return nil
}

// scanShared is the shared memory of screen_scan: two planes of each token's codes.
func scanShared(m, cols int) int { return 2 * min(m, scanTokens) * (cols + 64) }

func (d *Device) likeliestCost(c *devices.Call) float64 {
	m, planes := c.In[0].Dims[0], c.In[3].Len()+c.In[4].Len()
	compute := 2 * float64(m) * float64(c.In[2].Len()) / (float64(d.info.Multiprocessors) * 1024 * 1.5e9)
	return 3*launchCost + max(float64(planes)/d.info.Bandwidth, compute)*1e9
}

func (d *Device) bindLikeliest(c *devices.Call) (devices.Launch, error) {
	l := likelyScratch(c)
	m, k, n := c.In[0].Dims[0], c.In[0].Dims[1], c.In[2].Dims[0]
	cols, most := screen.Columns(k), c.Attrs.(screen.ListAttrs).Most
	scan := "screen_scan16"
	if m <= 4 {
		scan = "screen_scan4"
	}
	var all several
	add := func(w devices.Launch, err error) error {
		if err == nil {
			all = append(all, w.(work))
		}
		return err
	}
	if err := add(d.bindEarly("screen_prepare", shape{blocks: m, threads: 512}, c.In[0], l.codes, l.tokens, int32(k), int32(cols))); err != nil {
		return nil, err
	}
	sh := shape{blocks: ceilDiv(m, scanTokens), tiles: l.tiles, threads: 256, shared: scanShared(m, cols)}
	if err := add(d.bindEarly(scan, sh, l.codes, l.tokens, c.In[3], c.In[4], c.In[5], l.most, l.least, int32(m), int32(n), int32(cols))); err != nil {
		return nil, err
	}
	err := add(d.bindEarly("screen_pick_"+c.In[2].Elem.String(), shape{blocks: l.chunks, tiles: m, threads: 256, shared: 8 * heldKeys}, c.In[0], c.In[1], c.In[2],
		l.tokens, l.most, l.least, l.keys, l.counts, c.Out[0], c.Out[1], int32(n), int32(k), int32(l.tiles), int32(most)))
	return all, err
}
