package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/trit-ml/trit/devices"
	"github.com/trit-ml/trit/devices/cuda/internal/cublaslt"
	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// oldest is the smallest compute capability, times 10, that the kernels are
// built for.
const oldest = 80

// sm90a is what the kernels of files named *_sm90.cu need: sm_90 and no other.
const sm90a devices.Feature = "sm_90a"

// Info describes one GPU.
type Info struct {
	Index           int
	Name            string // such as "NVIDIA H100 80GB HBM3"
	SM              int    // compute capability times 10, such as 90
	Memory          int    // bytes
	Bandwidth       float64
	Multiprocessors int
	L2              int // bytes
	SharedPerBlock  int // bytes of shared memory one block may ask for
	Driver          string
}

// String is one line for people.
func (i Info) String() string {
	return fmt.Sprintf("cuda:%d %s, sm_%d, %d multiprocessors, %s at %.0f GB/s, %s",
		i.Index, i.Name, i.SM, i.Multiprocessors, size(i.Memory), i.Bandwidth/1e9, i.Driver)
}

// features are sm_80 and every later step up to the GPU's own.
func (i Info) features() []devices.Feature {
	var fs []devices.Feature
	for _, sm := range []int{80, 86, 89, 90, 100, 103, 120} {
		if sm <= i.SM {
			fs = append(fs, devices.Feature("sm_"+strconv.Itoa(sm)))
		}
	}
	if i.SM == 90 {
		fs = append(fs, sm90a) // not part of later architectures
	}
	return fs
}

// Device is one GPU. It is safe for concurrent use.
type Device struct {
	info     Info
	features []devices.Feature
	kernels  []devices.Kernel
	layouts  []devices.Layout

	api *driver.API // nil for an offline device
	dev driver.Device
	ctx driver.Context

	lost atomic.Bool // somebody has been told

	mu     sync.Mutex    // guards what follows
	aux    driver.Stream // for zeroing new memory
	loaded map[*module]driver.Module
	funcs  map[string]driver.Function
	closed bool

	blas *blas

	tickets struct {
		sync.Mutex
		used int                                // of all that there are
		of   map[devices.Buffer]devices.Operand // of launches with this scratch memory
	}
	small struct { // writes that queues collect
		sync.Mutex
		of map[*scatter]bool
	}
	constants struct { // tables that kernels read
		sync.Mutex
		of map[string]*buffer
	}
}

var _ devices.Device = (*Device)(nil)

// ErrOffline is returned by everything on an offline device that needs the GPU.
var ErrOffline = errors.New("this device only explains; no GPU is behind it")

// List describes the GPUs of this machine, also those too old to use. The error
// says what is missing: this package's build tag, the driver, or a GPU.
func List() ([]Info, error) {
	api, err := driver.Load()
	if err != nil {
		return nil, wrap("cuda", err)
	}
	n, err := api.DeviceCount()
	if err != nil {
		return nil, wrap("cuda", err)
	}
	infos := make([]Info, n)
	for i := range infos {
		if infos[i], _, err = query(api, i); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// Open prepares the GPU of the given index. Close the device when no queue or
// buffer of it is in use any more.
func Open(index int) (*Device, error) {
	name := "cuda:" + strconv.Itoa(index)
	api, err := driver.Load()
	if err != nil {
		return nil, wrap(name, err)
	}
	info, dev, err := query(api, index)
	if err != nil {
		return nil, err
	}
	if info.SM < oldest {
		return nil, fmt.Errorf("%s: %s has compute capability %d.%d, but at least 8.0 (Ampere) is needed; choose another device", name, info.Name, info.SM/10, info.SM%10)
	}
	d := newDevice(info)
	d.api, d.dev = api, dev
	d.loaded, d.funcs = map[*module]driver.Module{}, map[string]driver.Function{}
	if d.ctx, err = api.RetainPrimary(dev); err != nil {
		return nil, wrap(name, err)
	}
	err = d.with(func() (err error) {
		d.aux, err = api.NewStream()
		return err
	})
	if err != nil {
		return nil, errors.Join(wrap(name, err), d.Close())
	}
	return d, nil
}

// Offline returns a device that has a GPU's features and kernel table but no
// GPU, for explaining a program: arch is such as "sm_90". Costs are those of
// the largest data-centre GPU of the architecture.
func Offline(arch string) (*Device, error) {
	infos := []Info{
		{Name: "A100", SM: 80, Bandwidth: 2.0e12, Multiprocessors: 108, SharedPerBlock: 163 << 10},
		{Name: "A40", SM: 86, Bandwidth: 0.7e12, Multiprocessors: 84, SharedPerBlock: 99 << 10},
		{Name: "L40S", SM: 89, Bandwidth: 0.86e12, Multiprocessors: 142, SharedPerBlock: 99 << 10},
		{Name: "H200", SM: 90, Bandwidth: 4.8e12, Multiprocessors: 132, SharedPerBlock: 227 << 10},
		{Name: "B200", SM: 100, Bandwidth: 8.0e12, Multiprocessors: 148, SharedPerBlock: 227 << 10},
	}
	var known []string
	for _, i := range infos {
		a := "sm_" + strconv.Itoa(i.SM)
		if a == arch {
			i.Driver = "offline"
			return newDevice(i), nil
		}
		known = append(known, a)
	}
	return nil, fmt.Errorf("cuda: unknown architecture %q; known are %s", arch, strings.Join(known, ", "))
}

func newDevice(info Info) *Device {
	d := &Device{info: info, features: info.features()}
	d.blas = &blas{d: d, plans: map[cublaslt.Product]blasPlan{}}
	d.layouts = d.layoutTable()
	d.kernels = d.kernelTable()
	return d
}

func query(api *driver.API, index int) (Info, driver.Device, error) {
	n, err := api.DeviceCount()
	if err != nil {
		return Info{}, 0, wrap("cuda", err)
	}
	if index < 0 || index >= n {
		return Info{}, 0, fmt.Errorf("cuda:%d: there is no such GPU; the driver sees %d", index, n)
	}
	info := Info{Index: index}
	dev, err := api.Device(index)
	errs := []error{err}
	note := func(err error) { errs = append(errs, err) }
	at := func(a driver.Attribute) int {
		v, err := api.DeviceAttribute(dev, a)
		note(err)
		return v
	}
	info.Name, err = api.DeviceName(dev)
	note(err)
	mem, err := api.DeviceMemory(dev)
	note(err)
	version, err := api.Version()
	note(err)
	info.Memory = int(mem)
	info.SM = 10*at(driver.ComputeMajor) + at(driver.ComputeMinor)
	info.Multiprocessors = at(driver.MultiprocessorCount)
	info.L2 = at(driver.L2CacheBytes)
	info.SharedPerBlock = at(driver.SharedPerBlockOptIn)
	info.Bandwidth = 2 * 1e3 * float64(at(driver.MemoryClockKHz)) * float64(at(driver.MemoryBusBits)) / 8
	info.Driver = fmt.Sprintf("driver for CUDA %d.%d", version/1000, version%1000/10)
	if err := errors.Join(errs...); err != nil {
		return Info{}, 0, wrap(fmt.Sprintf("cuda:%d", index), err)
	}
	return info, dev, nil
}

// Name is "cuda:0" for the first GPU.
func (d *Device) Name() string {
	if d.api == nil {
		return "cuda:sm_" + strconv.Itoa(d.info.SM)
	}
	return "cuda:" + strconv.Itoa(d.info.Index)
}

// Info describes the GPU.
func (d *Device) Info() Info { return d.info }

// Has reports whether the GPU has f, such as "sm_90": its architecture is that
// or a later one. Asking for "cuBLASLt" opens that library.
func (d *Device) Has(f devices.Feature) bool {
	if f == cuBLASLt {
		return d.blas.open() == nil
	}
	return slices.Contains(d.features, f)
}

// Why says why the GPU lacks a feature, "" if that needs no words.
func (d *Device) Why(f devices.Feature) string {
	if f == cuBLASLt {
		if err := d.blas.open(); err != nil {
			return oneLine(err)
		}
	}
	return ""
}

// Kernels lists every kernel.
func (d *Device) Kernels() []devices.Kernel { return d.kernels }

// Layouts lists the packed layouts.
func (d *Device) Layouts() []devices.Layout { return d.layouts }

// Wrap reports false: a GPU does not read pageable host memory.
func (d *Device) Wrap([]byte) (devices.Buffer, bool) { return nil, false }

// Close frees the modules and lets go of the context.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.api == nil || d.closed {
		return nil
	}
	d.closed = true
	err := d.release(func() error {
		var errs []error
		errs = append(errs, d.blas.close())
		if d.aux != 0 {
			errs = append(errs, d.api.DestroyStream(d.aux))
		}
		for _, b := range d.constants.of {
			errs = append(errs, d.api.MemFree(b.ptr))
		}
		for _, m := range d.loaded {
			errs = append(errs, d.api.UnloadModule(m))
		}
		return errors.Join(errs...)
	})
	return d.released("", errors.Join(err, d.api.ReleasePrimary(d.dev)))
}

// with runs f on a thread whose current context is the device's.
func (d *Device) with(f func() error) error {
	if d.api == nil {
		return ErrOffline
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := d.api.SetCurrent(d.ctx); err != nil {
		return err
	}
	return f()
}

// release is with for what frees something: of a GPU whose state is lost, which a
// queue has reported, nothing is left to free.
func (d *Device) release(f func() error) error {
	if err := d.with(f); !isLost(err) {
		return err
	}
	return nil
}

// function finds a kernel in its module, which it loads first if need be, and
// lets it use shared bytes of shared memory.
func (d *Device) function(name string, shared int) (driver.Function, error) {
	if d.api == nil {
		return 0, nil // no queue of an offline device will run it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.funcs[name]; ok {
		return f, nil
	}
	m := modules()[name]
	if m == nil {
		return 0, fmt.Errorf("%s: no module has a kernel %s", d.Name(), name)
	}
	var f driver.Function
	err := d.with(func() (err error) {
		mod, ok := d.loaded[m]
		if !ok {
			if mod, err = d.api.LoadModule([]byte(m.text + "\x00")); err != nil {
				return fmt.Errorf("module %s: %w", m.name, err)
			}
			d.loaded[m] = mod
		}
		if f, err = d.api.ModuleFunction(mod, name); err != nil {
			return err
		}
		if strings.HasSuffix(name, earlyForm) {
			// Blocks of two kernels share a multiprocessor only if both divide its
			// memory in the same way.
			if err := d.api.SetFunctionAttribute(f, driver.SharedCarveout, 100); err != nil {
				return err
			}
			if strings.HasPrefix(name, clusterKernel) {
				if err := d.api.SetFunctionAttribute(f, driver.LargeClusters, 1); err != nil {
					return err
				}
			}
		}
		if shared > 0 {
			return d.api.SetFunctionAttribute(f, driver.MaxFuncDynamicShared, d.info.SharedPerBlock-staticShared)
		}
		return nil
	})
	if err != nil {
		return 0, wrap(d.Name()+": kernel "+name, err)
	}
	d.funcs[name] = f
	return f, nil
}
