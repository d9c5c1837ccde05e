package cuda

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/graph"
)

var _ devices.Accelerator = (*Device)(nil)

// About is the GPU in one line.
func (d *Device) About() string { return d.info.String() }

// Libraries says which of NVIDIA's libraries the GPU's kernels are joined by, or
// why not.
func (d *Device) Libraries() string { return d.blas.about() }

// Measure measures the GPU's memory and tensor cores, in about a second.
func (d *Device) Measure(ctx context.Context) (l devices.Limits, err error) {
	q, err := d.NewQueue()
	if err != nil {
		return l, err
	}
	m := &meter{ctx: ctx, d: d, q: q}
	defer func() { err = errors.Join(err, q.Close()) }()
	l.ISA = fmt.Sprintf("mma.sync on sm_%d", d.info.SM)
	// Memory: more than the L2 cache holds, and as much more as the GPU is fast.
	for _, bytes := range []int{32 << 20, max(256<<20, 4*d.info.L2), 1 << 30} {
		if 2*bytes > d.info.Memory/2 {
			break
		}
		if l.CopyGBs, l.ReadGBs, err = m.memory(bytes); err != nil {
			return l, err
		}
		if l.ReadGBs < 100 {
			break // it would take long
		}
	}
	if l.MACGs, err = m.products("measure_mma_s8", graph.I32, 16*8*32); err != nil {
		return l, err
	}
	l.FMAGFLOPs, err = m.products("measure_mma_bf16", graph.F32, 2*16*8*16)
	return l, err
}

// meter times work on a queue.
type meter struct {
	ctx context.Context
	d   *Device
	q   devices.Queue
}

// best is the shortest of several runs; the first warms up and is not counted.
func (m *meter) best(run func() error) (time.Duration, error) {
	least := time.Duration(0)
	for i := range 4 {
		if err := m.q.Sync(m.ctx); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := errors.Join(run(), m.q.Sync(m.ctx)); err != nil {
			return 0, err
		}
		if t := time.Since(began); i > 0 && (least == 0 || t < least) {
			least = t
		}
	}
	return max(least, 1), nil
}

// rate is work in 10⁹ a second.
func rate(work int, t time.Duration) float64 { return float64(work) / t.Seconds() / 1e9 }

// memory measures copies, counting bytes read and written, and reads.
func (m *meter) memory(bytes int) (copied, read float64, err error) {
	from, err := m.d.Alloc(bytes)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, from.Free()) }()
	to, err := m.d.Alloc(bytes)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, to.Free()) }()
	t, err := m.best(func() error { return m.q.Copy(to, 0, from, 0, bytes) })
	if err != nil {
		return 0, 0, err
	}
	l, err := m.d.measureRead(operandOf(from, graph.U8, bytes), operandOf(to, graph.I32, 1))
	if err != nil {
		return 0, 0, err
	}
	r, err := m.best(func() error { return m.q.Launch(l) })
	return rate(2*bytes, t), rate(bytes, r), err
}

// products measures a kernel of independent tensor-core products; each counts
// as the given number of operations.
func (m *meter) products(kernel string, elem graph.DType, operations int) (float64, error) {
	out, err := m.d.Alloc(devices.Align)
	if err != nil {
		return 0, err
	}
	defer out.Free()
	const few, enough = 1, 20 * time.Millisecond
	for rounds := few; ; rounds *= 8 {
		l, products, err := m.d.measureProducts(kernel, operandOf(out, elem, 1), rounds)
		if err != nil {
			return 0, err
		}
		t, err := m.best(func() error { return m.q.Launch(l) })
		if err != nil || t > enough || rounds > 1<<24 {
			return rate(products*operations, t), err
		}
	}
}

// measureProducts multiplies for so many rounds, and says how many products that
// is: 8 a warp and round.
func (d *Device) measureProducts(kernel string, out devices.Operand, rounds int) (devices.Launch, int, error) {
	sh := shape{blocks: 2 * d.info.Multiprocessors, threads: 256}
	l, err := d.bind(kernel, sh, out, int32(rounds))
	return l, sh.blocks * sh.threads / 32 * 8 * rounds, err
}

// measureRead reads all of from; to is where it could write.
func (d *Device) measureRead(from, to devices.Operand) (devices.Launch, error) {
	return d.bind("measure_read", shape{blocks: 4 * d.info.Multiprocessors, threads: 512}, from, to, int64(from.Bytes()/16))
}

// operandOf is n elements at the start of a buffer.
func operandOf(b devices.Buffer, elem graph.DType, n int) devices.Operand {
	return devices.Operand{Elem: elem, Dims: []int{n}, Buf: b}
}
