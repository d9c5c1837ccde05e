package cuda

import (
	"fmt"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
	"github.com/trit-ml/trit/ops/ternary"
)

// i2x64 is 2 bits a weight in units of 64, as kernels/ternary.cuh describes.
const i2x64 graph.Layout = "i2x64.dp4a"

// unitBytes is the size of one unit of 64 weights.
const unitBytes = 16

// units is the number of units of a row of k weights.
func units(k int) int { return (k + 63) / 64 }

// maxK keeps 64 times a sum inside an int32.
const maxK = 1<<18 - 64

// rowsPerBlock and its threads: 8 threads share a row.
const (
	gemvThreads  = 128
	rowsPerBlock = gemvThreads / 8
)

func (d *Device) layoutTable() []devices.Layout {
	return []devices.Layout{{
		Name: i2x64, Elem: graph.Tern,
		Bytes: func(dims []int) int { return dims[0] * units(dims[1]) * unitBytes },
		Pack: func(in, out devices.Operand) (devices.Launch, error) {
			k := in.Dims[1]
			words := in.Dims[0] * units(k) * 4
			sh := shape{blocks: (words + 255) / 256, threads: 256}
			return d.bind("ternary_pack", sh, in, out, int64(words), int32(k), int32(units(k)))
		},
	}}
}

// ternaryKernels lists the products for one row of activations at a time and
// for tiles of eight, which unpack a weight once for all of them.
func (d *Device) ternaryKernels() []devices.Kernel {
	var rows []devices.Kernel
	for _, tile := range []int{1, 8} {
		fn := fmt.Sprintf("ternary_matmul_m%d", tile)
		shared := func(c *devices.Call) int { return tile * units(c.In[0].Last()) * 64 }
		tiles := func(c *devices.Call) int { return (c.In[0].Rows() + tile - 1) / tile }
		rows = append(rows, devices.Kernel{
			Name: fmt.Sprintf("ternary_matmul.i2x64.m%d.dp4a", tile), Op: ternary.MatMulOp.OpDef, Needs: sm80,
			Layouts: []graph.Layout{1: i2x64},
			Accept: func(c *devices.Call) error {
				if k := c.In[0].Last(); k > maxK {
					return fmt.Errorf("rows of %d are longer than %d", k, maxK)
				}
				if n, most := shared(c), d.info.SharedPerBlock-staticShared; n > most {
					return fmt.Errorf("needs %d bytes of shared memory, the GPU has %d", n, most)
				}
				if tiles(c) > 65535 {
					return fmt.Errorf("%d rows of activations are too many", c.In[0].Rows())
				}
				return nil
			},
			Cost: func(c *devices.Call) float64 {
				n, k := c.In[1].Dims[0], c.In[1].Dims[1]
				// Each tile reads the weights; 64 products a cycle of dp4a and
				// its unpacking bound it otherwise.
				memory := float64(n*units(k)*unitBytes) / d.info.Bandwidth
				compute := float64(n*k*tile) / (float64(d.info.Multiprocessors) * 64 * 1.5e9)
				return launchCost + float64(tiles(c))*max(memory, compute)*1e9
			},
			Bind: func(c *devices.Call) (devices.Launch, error) {
				if c.In[1].Layout != i2x64 {
					return nil, fmt.Errorf("%s: the weights are in layout %q, not %q", fn, c.In[1].Layout, i2x64)
				}
				m, k := c.In[0].Dims[0], c.In[0].Dims[1]
				n := c.In[1].Dims[0]
				sh := shape{
					blocks: (n + rowsPerBlock - 1) / rowsPerBlock, tiles: tiles(c),
					threads: gemvThreads, shared: shared(c),
				}
				return d.bind(fn, sh, c.In[0], c.In[1], c.Out[0], int32(m), int32(n), int32(k), int32(units(k)))
			},
		})
	}
	return rows
}
