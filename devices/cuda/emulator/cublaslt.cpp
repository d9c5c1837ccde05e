// The functions of cuBLASLt that devices/cuda uses, on emulated GPUs. Their meaning
// is that of the cuBLASLt part of NVIDIA's cuBLAS reference manual.
#include <cstdlib>
#include <cstring>

#include "driver.h"

using namespace emulator;

namespace {

enum { SUCCESS = 0, REFUSED = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { F32 = 0, BF16 = 14 };
enum { COMPUTE_F32 = 68, OP_T = 1, TRANS_A = 3, TRANS_B = 4 };
enum { WORKSPACE_BYTES = 1, REDUCTION = 3, ALIGN_A = 5, ALIGN_D = 8 };

const unsigned long long ALGO = 0x7472697420626c61;  // marks an algorithm

struct Desc {
    int trans[2] = {0, 0};  // of A, B
};
struct Layout {
    int type;
    unsigned long long rows, cols;
    long long ld;
    size_t width() const { return type == F32 ? 4 : 2; }
    size_t bytes() const { return cols == 0 ? 0 : (size_t)(ld * (cols - 1) + rows) * width(); }
    float get(const char* p, size_t r, size_t c) const {
        p += (c * ld + r) * width();
        float f;
        if (type == F32) {
            memcpy(&f, p, 4);
        } else {
            unsigned short h;
            memcpy(&h, p, 2);
            unsigned u = (unsigned)h << 16;
            memcpy(&f, &u, 4);
        }
        return f;
    }
    void set(char* p, size_t r, size_t c, float f) const {
        p += (c * ld + r) * width();
        if (type == F32) {
            memcpy(p, &f, 4);
            return;
        }
        unsigned u;
        memcpy(&u, &f, 4);
        if (f == f) u += 0x7fff + (u >> 16 & 1);  // to nearest, ties to even
        unsigned short h = u >> 16 | (f == f ? 0 : 0x40);
        memcpy(p, &h, 2);
    }
};
struct Preference {
    unsigned long long workspace = 0;
};
struct Algorithm {
    unsigned long long mark, m, n, k, rest[4];
};
struct Heuristic {
    Algorithm algo;
    unsigned long long workspace;
    int state;
    float waves;
    int reserved[4];
};

// fails reports whether the call is to fail, by TRIT_EMU_FAIL_BLAS.
bool fails(const char* what) {
    const char* f = getenv("TRIT_EMU_FAIL_BLAS");
    return f && !strcmp(f, what);
}

bool shapes(const Desc* d, const Layout* a, const Layout* b, const Layout* y, Algorithm* to) {
    to->m = d->trans[0] ? a->cols : a->rows;
    to->k = d->trans[0] ? a->rows : a->cols;
    to->n = d->trans[1] ? b->rows : b->cols;
    return to->k == (d->trans[1] ? b->cols : b->rows) && y->rows == to->m && y->cols == to->n && a->type == b->type;
}

struct Work {
    Device* device;
    Desc desc;
    Layout a, b, y;
    Algorithm algo;
    const char *pa, *pb;
    char* py;
};

Failure multiply(const Work& w) {
    if (!w.device->holds((Ptr)w.pa, w.a.bytes()) || !w.device->holds((Ptr)w.pb, w.b.bytes()) || !w.device->holds((Ptr)w.py, w.y.bytes()))
        return {ILLEGAL_ADDRESS, "cublasLtMatmul: a matrix is not in device memory"};
    float off = fails("result") ? 1 : 0;
    for (size_t n = 0; n < w.algo.n; n++)
        for (size_t m = 0; m < w.algo.m; m++) {
            float sum = off;
            for (size_t k = 0; k < w.algo.k; k++) {
                float a = w.desc.trans[0] ? w.a.get(w.pa, k, m) : w.a.get(w.pa, m, k);
                float b = w.desc.trans[1] ? w.b.get(w.pb, n, k) : w.b.get(w.pb, k, n);
                sum += a * b;
            }
            w.y.set(w.py, m, n, sum);
        }
    return {};
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API size_t cublasLtGetVersion() { return 130000; }
API int cublasLtCreate(void** h) {
    if (fails("cublasLtCreate") || !current_device()) return 1;
    *h = new Device*(current_device());
    return SUCCESS;
}
API int cublasLtDestroy(Device** h) {
    delete h;
    return SUCCESS;
}

API int cublasLtMatmulDescCreate(Desc** d, int compute, int scale) {
    if (compute != COMPUTE_F32 || scale != F32) return NOT_SUPPORTED;
    *d = new Desc;
    return SUCCESS;
}
API int cublasLtMatmulDescDestroy(Desc* d) {
    delete d;
    return SUCCESS;
}
API int cublasLtMatmulDescSetAttribute(Desc* d, int attr, const void* value, size_t n) {
    if (n != 4 || (attr != TRANS_A && attr != TRANS_B)) return REFUSED;
    int op;
    memcpy(&op, value, 4);
    if (op != 0 && op != OP_T) return REFUSED;
    d->trans[attr - TRANS_A] = op;
    return SUCCESS;
}

API int cublasLtMatrixLayoutCreate(Layout** l, int type, unsigned long long rows, unsigned long long cols, long long ld) {
    if ((type != F32 && type != BF16) || rows == 0 || cols == 0 || ld < (long long)rows) return REFUSED;
    *l = new Layout{type, rows, cols, ld};
    return SUCCESS;
}
API int cublasLtMatrixLayoutDestroy(Layout* l) {
    delete l;
    return SUCCESS;
}

API int cublasLtMatmulPreferenceCreate(Preference** p) {
    *p = new Preference;
    return SUCCESS;
}
API int cublasLtMatmulPreferenceDestroy(Preference* p) {
    delete p;
    return SUCCESS;
}
API int cublasLtMatmulPreferenceSetAttribute(Preference* p, int attr, const void* value, size_t n) {
    if (attr == WORKSPACE_BYTES && n == 8) {
        memcpy(&p->workspace, value, 8);
        return SUCCESS;
    }
    return n == 4 && (attr == REDUCTION || (attr >= ALIGN_A && attr <= ALIGN_D)) ? SUCCESS : REFUSED;
}

API int cublasLtMatmulAlgoGetHeuristic(Device**, Desc* d, Layout* a, Layout* b, Layout* c, Layout* y, Preference* p, int most, Heuristic* out, int* found) {
    if (most < 1 || c != y) return REFUSED;
    *found = 0;
    Heuristic h = {};
    if (fails("cublasLtMatmulAlgoGetHeuristic") || !shapes(d, a, b, y, &h.algo)) return NOT_SUPPORTED;
    h.algo.mark = ALGO;
    h.workspace = p->workspace < 1024 ? p->workspace : 1024;
    *out = h;
    *found = 1;
    return SUCCESS;
}

API int cublasLtMatmul(Device** h, Desc* d, const float* alpha, const char* pa, Layout* a, const char* pb, Layout* b, const float* beta, const char* pc, Layout* c, char* py, Layout* y,
                       const Algorithm* algo, char* workspace, size_t bytes, Stream* s) {
    Work w = {*h, *d, *a, *b, *y, {}, pa, pb, py};
    if (fails("cublasLtMatmul")) return REFUSED;
    if (fails("large") && y->rows * y->cols > 1 << 15) return REFUSED;
    if (stream_status(s) || current_device() != *h) return EXECUTION_FAILED;
    if (!shapes(d, a, b, y, &w.algo) || *alpha != 1 || *beta != 0 || pc != py || c != y) return REFUSED;
    if (algo->mark != ALGO || algo->m != w.algo.m || algo->n != w.algo.n || algo->k != w.algo.k) return REFUSED;
    if ((size_t)workspace % 256 != 0 || bytes < 1024 || ((size_t)pa | (size_t)pb | (size_t)py) % 16 != 0) return REFUSED;
    s->add([w]() -> Failure { return multiply(w); });
    return SUCCESS;
}
