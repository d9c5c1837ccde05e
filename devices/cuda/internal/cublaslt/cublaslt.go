// Package cublaslt calls NVIDIA's library of matrix products, opened at run time
// without cgo. Types and numbers follow the cuBLASLt part of NVIDIA's cuBLAS
// reference manual; versions 12 and 13 are known.
package cublaslt

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/trit-ml/trit/devices/cuda/internal/driver"
	"github.com/trit-ml/trit/devices/cuda/internal/dynlib"
)

// LibraryEnv names the library to open, or is Off. Without it, or if it is Search,
// the system's library is opened or one that a Python installation brings along.
const LibraryEnv = "TRIT_CUBLASLT_LIBRARY"

// Values of LibraryEnv.
const (
	Off    = "off"
	Search = "search"
)

// ErrOff says that LibraryEnv is Off.
var ErrOff = errors.New("switched off by " + LibraryEnv + "=" + Off)

// sonames of the versions that are known.
var sonames = []string{"libcublasLt.so.13", "libcublasLt.so.12"}

// funcID numbers the functions that are used.
type funcID int

const (
	cublasLtGetVersion funcID = iota
	cublasLtCreate
	cublasLtDestroy
	cublasLtMatmulDescCreate
	cublasLtMatmulDescDestroy
	cublasLtMatmulDescSetAttribute
	cublasLtMatrixLayoutCreate
	cublasLtMatrixLayoutDestroy
	cublasLtMatmulPreferenceCreate
	cublasLtMatmulPreferenceDestroy
	cublasLtMatmulPreferenceSetAttribute
	cublasLtMatmulAlgoGetHeuristic
	cublasLtMatmul
	numFuncs
)

var names = [numFuncs]string{
	cublasLtGetVersion:                   "cublasLtGetVersion",
	cublasLtCreate:                       "cublasLtCreate",
	cublasLtDestroy:                      "cublasLtDestroy",
	cublasLtMatmulDescCreate:             "cublasLtMatmulDescCreate",
	cublasLtMatmulDescDestroy:            "cublasLtMatmulDescDestroy",
	cublasLtMatmulDescSetAttribute:       "cublasLtMatmulDescSetAttribute",
	cublasLtMatrixLayoutCreate:           "cublasLtMatrixLayoutCreate",
	cublasLtMatrixLayoutDestroy:          "cublasLtMatrixLayoutDestroy",
	cublasLtMatmulPreferenceCreate:       "cublasLtMatmulPreferenceCreate",
	cublasLtMatmulPreferenceDestroy:      "cublasLtMatmulPreferenceDestroy",
	cublasLtMatmulPreferenceSetAttribute: "cublasLtMatmulPreferenceSetAttribute",
	cublasLtMatmulAlgoGetHeuristic:       "cublasLtMatmulAlgoGetHeuristic",
	cublasLtMatmul:                       "cublasLtMatmul",
}

// Library is the loaded library. It is safe for concurrent use.
type Library struct {
	fn   [numFuncs]uintptr
	path string
}

// Load opens the library that LibraryEnv asks for.
func Load() (*Library, error) {
	env := LibraryEnv
	switch os.Getenv(env) {
	case Off:
		return nil, ErrOff
	case Search:
		env = ""
	}
	h, path, err := dynlib.Find(env, sonames...)
	if err != nil {
		return nil, fmt.Errorf("no cuBLASLt: %w", err)
	}
	l := &Library{path: path}
	for id, name := range names {
		if l.fn[id], err = h.Symbol(name); err != nil {
			return nil, fmt.Errorf("%s lacks %s", path, name)
		}
	}
	return l, nil
}

// String is the library's version, and the name under which it was opened.
func (l *Library) String() string {
	v := dynlib.CallMany(l.fn[cublasLtGetVersion])
	return fmt.Sprintf("cuBLASLt %d.%d.%d (%s)", v/10000, v/100%100, v%100, l.path)
}

// Error is a call that failed.
type Error struct {
	Call   string
	Status int // cublasStatus_t
}

func (e *Error) Error() string { return fmt.Sprintf("%s: cuBLAS status %d", e.Call, e.Status) }

//go:uintptrescapes
func (l *Library) call(f funcID, args ...uintptr) error {
	if s := uint32(dynlib.CallMany(l.fn[f], args...)); s != 0 {
		return &Error{names[f], int(s)}
	}
	return nil
}

// Handle works on the GPU whose context was current when it was made. It is safe
// for concurrent use.
type Handle struct {
	l *Library
	h uintptr
}

// New makes a handle for the current context's GPU.
func (l *Library) New() (*Handle, error) {
	h := &Handle{l: l}
	if err := l.call(cublasLtCreate, uintptr(unsafe.Pointer(&h.h))); err != nil {
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	return h, nil
}

// Close frees the handle; its context is current and its work is done.
func (h *Handle) Close() error { return h.l.call(cublasLtDestroy, h.h) }

// Type is an element type (cudaDataType).
type Type int32

const (
	F32  Type = 0
	BF16 Type = 14
)

// Product describes y[m,n] = op(a) op(b) of row-major matrices.
type Product struct {
	M, N, K int
	TA, TB  bool // a is stored as [k,m], b as [n,k]
	AB, Y   Type // of the operands and of the result
}

// Plan is the library's choice for a product.
type Plan struct {
	h           *Handle
	desc        uintptr
	a, b, y     uintptr // layouts
	algo        [8]uint64
	alpha, beta *float32
	workspace   int
}

// Workspace is the most bytes of workspace that a plan may ask for; its address
// is a multiple of WorkspaceAlign, those of matrices are multiples of Align.
const (
	Workspace      = 32 << 20
	WorkspaceAlign = 256
	Align          = 128
)

// Attributes and values (cublasLt.h).
const (
	computeF32 = 68 // CUBLAS_COMPUTE_32F: no TF32
	opT        = 1

	descTransA, descTransB = 3, 4

	prefWorkspace        = 1
	prefReduction        = 3 // mask
	prefAlignA           = 5 // then B, C, D
	reductionInWorkspace = 2 | 4
)

// heuristic is cublasLtMatmulHeuristicResult_t.
type heuristic struct {
	algo      [8]uint64
	workspace uint64
	state     int32
	waves     float32
	_         [4]int32
}

// Plan asks the library how to compute a product. Sums of a split inner dimension
// go through workspace, in a fixed order. Close the plan.
func (h *Handle) Plan(p Product) (plan *Plan, err error) {
	l := h.l
	plan = &Plan{h: h, alpha: new(float32), beta: new(float32)}
	*plan.alpha = 1
	defer func() {
		if err != nil {
			err = errors.Join(err, plan.Close())
			plan = nil
		}
	}()
	if err = l.call(cublasLtMatmulDescCreate, uintptr(unsafe.Pointer(&plan.desc)), computeF32, uintptr(F32)); err != nil {
		return plan, err
	}
	// The library's matrices are column-major, so it computes the transposed
	// product yᵀ = op(b)ᵀ op(a)ᵀ, and a row-major matrix is its own transpose.
	for attr, t := range map[uintptr]bool{descTransA: p.TB, descTransB: p.TA} {
		if !t {
			continue
		}
		op := int32(opT)
		if err = l.call(cublasLtMatmulDescSetAttribute, plan.desc, attr, uintptr(unsafe.Pointer(&op)), 4); err != nil {
			return plan, err
		}
	}
	layout := func(to *uintptr, t Type, rows, cols int) error {
		return l.call(cublasLtMatrixLayoutCreate, uintptr(unsafe.Pointer(to)), uintptr(t), uintptr(cols), uintptr(rows), uintptr(cols))
	}
	aRows, aCols := p.M, p.K
	if p.TA {
		aRows, aCols = aCols, aRows
	}
	bRows, bCols := p.K, p.N
	if p.TB {
		bRows, bCols = bCols, bRows
	}
	if err = errors.Join(layout(&plan.a, p.AB, aRows, aCols), layout(&plan.b, p.AB, bRows, bCols), layout(&plan.y, p.Y, p.M, p.N)); err != nil {
		return plan, err
	}
	var pref uintptr
	if err = l.call(cublasLtMatmulPreferenceCreate, uintptr(unsafe.Pointer(&pref))); err != nil {
		return plan, err
	}
	defer func() { err = errors.Join(err, l.call(cublasLtMatmulPreferenceDestroy, pref)) }()
	bytes, scheme, align := uint64(Workspace), uint32(reductionInWorkspace), uint32(Align)
	err = errors.Join(
		l.call(cublasLtMatmulPreferenceSetAttribute, pref, prefWorkspace, uintptr(unsafe.Pointer(&bytes)), 8),
		l.call(cublasLtMatmulPreferenceSetAttribute, pref, prefReduction, uintptr(unsafe.Pointer(&scheme)), 4),
	)
	for attr := uintptr(prefAlignA); attr < prefAlignA+4; attr++ {
		err = errors.Join(err, l.call(cublasLtMatmulPreferenceSetAttribute, pref, attr, uintptr(unsafe.Pointer(&align)), 4))
	}
	if err != nil {
		return plan, err
	}
	var best heuristic
	var found int32
	if err = l.call(cublasLtMatmulAlgoGetHeuristic, h.h, plan.desc, plan.b, plan.a, plan.y, plan.y, pref, 1,
		uintptr(unsafe.Pointer(&best)), uintptr(unsafe.Pointer(&found))); err != nil {
		return plan, err
	}
	if found < 1 || best.state != 0 {
		return plan, errors.New("cuBLASLt knows no way to compute this product")
	}
	plan.algo, plan.workspace = best.algo, int(best.workspace)
	return plan, nil
}

// Workspace is the bytes that Run needs.
func (p *Plan) Workspace() int { return p.workspace }

// Run puts the product on a stream; workspace has at least Workspace bytes and
// begins at a multiple of WorkspaceAlign.
func (p *Plan) Run(a, b, y, workspace driver.Ptr, s driver.Stream) error {
	return p.h.l.call(cublasLtMatmul, p.h.h, p.desc,
		uintptr(unsafe.Pointer(p.alpha)), uintptr(b), p.b, uintptr(a), p.a,
		uintptr(unsafe.Pointer(p.beta)), uintptr(y), p.y, uintptr(y), p.y,
		uintptr(unsafe.Pointer(&p.algo)), uintptr(workspace), uintptr(p.workspace), uintptr(s))
}

// Close frees the plan.
func (p *Plan) Close() error {
	var errs []error
	for _, layout := range []uintptr{p.a, p.b, p.y} {
		if layout != 0 {
			errs = append(errs, p.h.l.call(cublasLtMatrixLayoutDestroy, layout))
		}
	}
	if p.desc != 0 {
		errs = append(errs, p.h.l.call(cublasLtMatmulDescDestroy, p.desc))
	}
	return errors.Join(errs...)
}
