// The functions of the CUDA driver that devices/cuda uses, on emulated GPUs.
// Their meaning is that of NVIDIA's "CUDA Driver API" reference manual.
#include "driver.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <regex>

using namespace emulator;

namespace emulator {

const Properties& properties() {
    static const Properties p = [] {
        Properties p = {};
        p.devices = (int)number("TRIT_EMU_DEVICES", 2);
        p.sm = (int)number("TRIT_EMU_SM", 80);
        p.memory = (size_t)number("TRIT_EMU_MEMORY", 8ll << 30);
        p.driver = (int)number("TRIT_EMU_DRIVER", 12040);
        struct Model { int sm, multiprocessors, l2, shared, khz, bits; };
        // A100, A40, L40S, H100; and T4, which is too old.
        const Model models[] = {{75, 40, 4 << 20, 65536, 5001000, 256},      {80, 108, 40 << 20, 166912, 1215000, 5120},
                                {86, 84, 6 << 20, 101376, 7251000, 384},     {89, 142, 96 << 20, 101376, 9001000, 384},
                                {90, 132, 50 << 20, 232448, 2619000, 5120}};
        const Model* m = &models[0];
        for (const Model& x : models)
            if (x.sm <= p.sm) m = &x;
        p.multiprocessors = m->multiprocessors;
        p.l2 = m->l2;
        p.shared_optin = m->shared;
        p.memory_khz = m->khz;
        p.bus_bits = m->bits;
        return p;
    }();
    return p;
}

std::vector<std::unique_ptr<Device>>& devices() {
    static auto* all = [] {
        auto* v = new std::vector<std::unique_ptr<Device>>;
        for (int i = 0; i < properties().devices; i++) {
            v->emplace_back(new Device);
            v->back()->index = i;
        }
        return v;
    }();
    return *all;
}

}  // namespace emulator

namespace {

thread_local Device* current;

// Handles that have not been destroyed.
std::mutex handles_lock;
std::set<void*> handles;

template <typename T>
T* keep(T* h) {
    std::lock_guard<std::mutex> g(handles_lock);
    handles.insert(h);
    return h;
}
bool live(void* h) {
    std::lock_guard<std::mutex> g(handles_lock);
    return handles.count(h) != 0;
}
bool drop(void* h) {
    std::lock_guard<std::mutex> g(handles_lock);
    return handles.erase(h) != 0;
}

int check() { return current ? current->status() : INVALID_CONTEXT; }

int check(Stream* s) {
    if (int e = check()) return e;
    if (!live(s)) return INVALID_HANDLE;
    return s->device == current ? OK : INVALID_HANDLE;
}

bool capturing(Stream* s) {
    std::lock_guard<std::mutex> g(s->lock);
    return s->capturing;
}

struct Named {
    int code;
    const char *name, *text;
};
const Named errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {220, "CUDA_ERROR_NVLINK_UNCORRECTABLE", "uncorrectable NVLink error detected during the execution"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capture was not joined by the originating stream"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

// The name's type after its last use; module functions are looked up in PTX.
struct Entry {
    bool found = false;
    int most_threads = 1024;
    unsigned cluster = 1;
};
Entry entry(const std::string& ptx, const std::string& name) {
    Entry e;
    size_t at = ptx.find(".entry " + name + "(");
    if (at == std::string::npos) return e;
    e.found = true;
    size_t body = ptx.find('{', at), max = ptx.find(".maxntid", at);
    if (max < body) {
        int x = 1, y = 1, z = 1;
        sscanf(ptx.c_str() + max, ".maxntid %d, %d, %d", &x, &y, &z);
        e.most_threads = x * y * z;
    }
    size_t cluster = ptx.find(".reqnctapercluster", at);
    if (cluster < body) sscanf(ptx.c_str() + cluster, ".reqnctapercluster %u", &e.cluster);
    return e;
}

int launch(Function* f, dim3 grid, dim3 block, unsigned shared, Stream* s, void** params) {
    if (int e = check(s)) return e;
    if (!live(f) || f->device != current) return INVALID_HANDLE;
    unsigned long long threads = (unsigned long long)block.x * block.y * block.z;
    if (!grid.x || !grid.y || !grid.z || !threads || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || threads > 1024 || block.z > 64)
        return INVALID_VALUE;
    if ((int)threads > f->most_threads) return OUT_OF_RESOURCES;
    if ((int)shared > f->dynamic_shared) return INVALID_VALUE;
    if (grid.x % f->cluster) return INVALID_VALUE;
    if (f->cluster > 8 && !f->large_clusters) return INVALID_CLUSTER_SIZE;
    Launch l = {f->kernel, grid, block, shared, f->cluster, {}, {}};
    for (size_t i = 0; i < f->kernel->sizes.size(); i++) {
        size_t size = f->kernel->sizes[i];
        l.at.push_back(l.values.size());
        l.values.resize(l.values.size() + (size + 7) / 8);
        memcpy(&l.values[l.at[i]], params[i], size);
    }
    s->add([l]() -> Failure {
        Failure f;
        if (fail_launch(&f)) return f;
        f = run(l);
        if (f.code) fprintf(stderr, "the CUDA emulator: %s\n", f.text.c_str());
        return f;
    });
    return OK;
}

double now_ms() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

namespace emulator {
Device* current_device() { return current; }
int stream_status(Stream* s) { return check(s); }
}  // namespace emulator

#define API extern "C" __attribute__((visibility("default"))) int

API cuInit(unsigned) {
    if (properties().devices <= 0) return NO_DEVICE;
    watch_faults();
    return OK;
}
API cuDriverGetVersion(int* v) {
    *v = properties().driver;
    return OK;
}
API cuGetErrorName(int code, const char** out) {
    for (const Named& e : errors)
        if (e.code == code) return *out = e.name, OK;
    *out = nullptr;
    return INVALID_VALUE;
}
API cuGetErrorString(int code, const char** out) {
    static thread_local std::string text;
    for (const Named& e : errors) {
        if (e.code != code) continue;
        *out = e.text;
        if (current) {
            std::lock_guard<std::mutex> g(current->lock);
            if (current->lost.code == code && code) {
                text = std::string(e.text) + ": " + current->lost.text;
                *out = text.c_str();
            }
        }
        return OK;
    }
    *out = nullptr;
    return INVALID_VALUE;
}

// Devices and contexts.

API cuDeviceGetCount(int* n) {
    *n = properties().devices;
    return OK;
}
API cuDeviceGet(int* d, int i) {
    if (i < 0 || i >= properties().devices) return INVALID_DEVICE;
    *d = i;
    return OK;
}
API cuDeviceGetName(char* out, int n, int) {
    snprintf(out, n, "Emulated GPU sm_%d", properties().sm);
    return OK;
}
API cuDeviceTotalMem_v2(size_t* n, int) {
    *n = properties().memory;
    return OK;
}
API cuDeviceGetAttribute(int* v, int attribute, int) {
    const Properties& p = properties();
    switch (attribute) {
    case 1: case 2: case 3: *v = 1024; return OK;  // threads of a block
    case 5: *v = 0x7fffffff; return OK;            // blocks of a grid
    case 6: case 7: *v = 65535; return OK;
    case 8: *v = 48 << 10; return OK;              // shared memory of a block
    case 10: *v = 32; return OK;                   // warp
    case 12: case 82: *v = 65536; return OK;       // registers of a block, of a multiprocessor
    case 13: *v = 1410000; return OK;              // clock in kHz
    case 16: *v = p.multiprocessors; return OK;
    case 36: *v = p.memory_khz; return OK;
    case 37: *v = p.bus_bits; return OK;
    case 38: *v = p.l2; return OK;
    case 39: *v = p.sm == 86 || p.sm == 89 ? 1536 : 2048; return OK;  // threads of a multiprocessor
    case 40: *v = 2; return OK;                    // copy engines
    case 41: *v = 1; return OK;                    // unified addressing
    case 75: *v = p.sm / 10; return OK;
    case 76: *v = p.sm % 10; return OK;
    case 81: *v = p.shared_optin + 1024; return OK;
    case 95: *v = 0; return OK;                    // cooperative launch
    case 97: *v = p.shared_optin; return OK;
    }
    return INVALID_VALUE;
}
API cuDevicePrimaryCtxRetain(void** c, int i) {
    Device* d = devices()[i].get();
    std::lock_guard<std::mutex> g(d->lock);
    if (d->lost.code) return d->lost.code;
    d->retained++;
    *c = d;
    return OK;
}
API cuDevicePrimaryCtxRelease_v2(int i) {
    Device* d = devices()[i].get();
    std::lock_guard<std::mutex> g(d->lock);
    if (d->retained == 0) return INVALID_CONTEXT;
    if (--d->retained == 0 && !d->allocations.empty() && number("TRIT_EMU_LEAKS", 0))
        fprintf(stderr, "the CUDA emulator: %zu allocations were not freed\n", d->allocations.size());
    return OK;
}
API cuCtxSetCurrent(void* c) {
    current = (Device*)c;
    return OK;
}
API cuCtxSynchronize() {
    if (int e = check()) return e;
    current->wait();
    return check();
}

// Modules.

API cuModuleLoadDataEx(void** out, const char* text, unsigned n, const int* keys, void** values) {
    if (int e = check()) return e;
    char* log = nullptr;
    size_t log_bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        if (keys[i] == 5) log = (char*)values[i];
        if (keys[i] == 6) log_bytes = (size_t)values[i];
    }
    int major = 0, minor = 0, sm = 0;
    char arch[8] = "";
    const char* v = strstr(text, "\n.version ");
    const char* t = strstr(text, "\n.target sm_");
    if (!v || !t || sscanf(v, "\n.version %d.%d", &major, &minor) != 2 || sscanf(t, "\n.target sm_%d%1[a]", &sm, arch) < 1) {
        if (log) snprintf(log, log_bytes, "no .version and .target");
        return INVALID_PTX;
    }
    // PTX 8.n came with CUDA 12.n.
    if (1000 * (major + 4) + 10 * minor > properties().driver) {
        if (log) snprintf(log, log_bytes, "PTX %d.%d is newer than the driver", major, minor);
        return UNSUPPORTED_PTX;
    }
    if (sm > properties().sm || (arch[0] && sm != properties().sm)) return NO_BINARY;
    *out = keep(new Module{current, text});
    return OK;
}
API cuModuleUnload(Module* m) {
    if (!drop(m)) return INVALID_HANDLE;
    delete m;  // its functions live on; the driver would free them too
    return check();
}
API cuModuleGetFunction(void** out, Module* m, const char* name) {
    if (int e = check()) return e;
    if (!live(m)) return INVALID_HANDLE;
    Entry e = entry(m->text, name);
    const Kernel* k = find_kernel(name);
    if (e.cluster > most_cluster) return INVALID_VALUE;
    if (!e.found || !k) {
        if (e.found) fprintf(stderr, "the CUDA emulator was built without kernel %s: build it again\n", name);
        return NOT_FOUND;
    }
    *out = keep(new Function{k, m->device, e.most_threads, e.cluster});
    return OK;
}
API cuFuncSetAttribute(Function* f, int attribute, int v) {
    if (int e = check()) return e;
    if (!live(f)) return INVALID_HANDLE;
    if (attribute == 8) {
        if (v < 0 || v > properties().shared_optin) return INVALID_VALUE;
        f->dynamic_shared = v;
    }
    if (attribute == 14) f->large_clusters = v != 0;
    return OK;
}
API cuLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Stream* s,
                   void** params, void**) {
    return launch(f, dim3(gx, gy, gz), dim3(bx, by, bz), shared, s, params);
}
struct LaunchConfig {
    unsigned gx, gy, gz, bx, by, bz, shared;
    Stream* stream;
    void* attributes;
    unsigned count;
};
API cuLaunchKernelEx(const LaunchConfig* c, Function* f, void** params, void**) {
    return launch(f, dim3(c->gx, c->gy, c->gz), dim3(c->bx, c->by, c->bz), c->shared, c->stream, params);
}

// Memory.

API cuMemGetInfo_v2(size_t* free, size_t* total) {
    if (int e = check()) return e;
    std::lock_guard<std::mutex> g(current->lock);
    *total = properties().memory;
    *free = *total - current->used;
    return OK;
}
API cuMemAlloc_v2(Ptr* p, size_t n) {
    if (int e = check()) return e;
    return current->alloc(p, n);
}
API cuMemFree_v2(Ptr p) {
    if (int e = check()) return e;
    int e = current->free(p);
    return e ? e : check();
}
API cuMemHostAlloc(void** p, size_t n, unsigned) {
    if (int e = check()) return e;
    *p = host_alloc(n);
    return *p ? OK : OUT_OF_MEMORY;
}
API cuMemFreeHost(void* p) {
    if (current) current->wait();
    if (!host_free(p)) return INVALID_VALUE;
    return check();
}
API cuMemsetD8Async(Ptr p, unsigned char v, size_t n, Stream* s) {
    if (int e = check(s)) return e;
    if (!current->holds(p, n)) return INVALID_VALUE;
    s->add([=]() -> Failure {
        memset((void*)p, v, n);
        return {};
    });
    return OK;
}
API cuMemsetD32Async(Ptr p, unsigned v, size_t n, Stream* s) {
    if (int e = check(s)) return e;
    if (p % 4 || !current->holds(p, 4 * n)) return INVALID_VALUE;
    s->add([=]() -> Failure {
        for (size_t i = 0; i < n; i++) ((unsigned*)p)[i] = v;
        return {};
    });
    return OK;
}

// copy adds a copy. Both ends were checked when it was asked for; memory that is
// freed before it runs loses the device.
static int copy(void* to, const void* from, size_t n, Stream* s, Device* d, Ptr device_end) {
    s->add([=]() -> Failure {
        if (!d->holds(device_end, n)) return {ILLEGAL_ADDRESS, "a copy whose device memory is freed"};
        memcpy(to, from, n);
        return {};
    });
    return OK;
}
API cuMemcpyHtoDAsync_v2(Ptr to, const void* from, size_t n, Stream* s) {
    if (int e = check(s)) return e;
    if (!current->holds(to, n)) return INVALID_VALUE;
    if (host_locked(from, n) || capturing(s)) return copy((void*)to, from, n, s, current, to);
    // Pageable memory is read before the call returns.
    auto staged = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + n);
    s->add([=]() -> Failure {
        memcpy((void*)to, staged->data(), n);
        return {};
    });
    return OK;
}
API cuMemcpyDtoHAsync_v2(void* to, Ptr from, size_t n, Stream* s) {
    if (int e = check(s)) return e;
    if (!current->holds(from, n)) return INVALID_VALUE;
    copy(to, (const void*)from, n, s, current, from);
    if (host_locked(to, n) || capturing(s)) return OK;
    s->wait();
    return check();
}
API cuMemcpyDtoDAsync_v2(Ptr to, Ptr from, size_t n, Stream* s) {
    if (int e = check(s)) return e;
    if (!current->holds(to, n) || !current->holds(from, n)) return INVALID_VALUE;
    s->add([=]() -> Failure {
        memmove((void*)to, (const void*)from, n);
        return {};
    });
    return OK;
}

// Streams and events.

API cuStreamCreate(void** s, unsigned) {
    if (int e = check()) return e;
    *s = keep(new Stream(current));
    return OK;
}
API cuStreamDestroy_v2(Stream* s) {
    if (!drop(s)) return INVALID_HANDLE;
    delete s;
    return check();
}
API cuStreamSynchronize(Stream* s) {
    if (int e = check(s)) return e;
    if (capturing(s)) return CAPTURE_UNSUPPORTED;
    s->wait();
    return check();
}
API cuStreamQuery(Stream* s) {
    if (int e = check(s)) return e;
    if (capturing(s)) return CAPTURE_UNSUPPORTED;
    // A caller that asks again at once would take the time that the work needs.
    if (!s->idle_soon()) return NOT_READY;
    return check();
}
API cuEventCreate(void** e, unsigned) {
    if (int c = check()) return c;
    *e = keep(new Event);
    return OK;
}
API cuEventRecord(Event* e, Stream* s) {
    if (int c = check(s)) return c;
    if (!live(e)) return INVALID_HANDLE;
    {
        std::scoped_lock g(e->lock, s->lock);
        e->recorded = false;
        e->captured_on = s->capturing ? s : nullptr;
        e->captured = s->captured.size();
    }
    if (e->captured_on) return OK;  // an edge of the graph
    s->add([=]() -> Failure {
        std::lock_guard<std::mutex> g(e->lock);
        e->recorded = true;
        e->ms = now_ms();
        e->changed.notify_all();
        return {};
    });
    return OK;
}
// A stream that waits for an event of a capture becomes part of it. What a fork
// has queued is done as late as the edges allow, when the stream that waits for it
// goes on.
API cuStreamWaitEvent(Stream* s, Event* e, unsigned) {
    if (int c = check(s)) return c;
    if (!live(e)) return INVALID_HANDLE;
    Stream* from;
    {
        std::lock_guard<std::mutex> g(e->lock);
        from = e->captured_on;
    }
    if (!from) {
        if (capturing(s)) return CAPTURE_ISOLATION;
        s->add([=]() -> Failure {
            std::unique_lock<std::mutex> g(e->lock);
            e->changed.wait(g, [&] { return e->recorded; });
            return {};
        });
        return OK;
    }
    if (from == s) return OK;
    Stream* origin = from->origin ? from->origin : from;
    std::scoped_lock g(s->lock, from->lock);
    if (!from->capturing) return CAPTURE_ISOLATION;
    if (!s->capturing) {
        if (s->served) return CAPTURE_ISOLATION;
        s->capturing = true;
        s->captured.clear();
        s->origin = origin;
        origin->forks.insert(s);
        return OK;
    }
    if (from == origin) return OK;  // it goes on after what the origin has queued
    size_t n = std::min(e->captured, from->captured.size());
    std::move(from->captured.begin(), from->captured.begin() + n, std::back_inserter(s->captured));
    from->captured.erase(from->captured.begin(), from->captured.begin() + n);
    return OK;
}
API cuEventQuery(Event* e) {
    if (int c = check()) return c;
    if (!live(e)) return INVALID_HANDLE;
    std::unique_lock<std::mutex> g(e->lock);
    // As in cuStreamQuery; what has failed records nothing.
    if (!e->changed.wait_for(g, std::chrono::microseconds(100), [&] { return e->recorded; })) return check() ? check() : NOT_READY;
    return check();
}
API cuEventElapsedTime(float* ms, Event* from, Event* to) {
    if (int c = check()) return c;
    if (!live(from) || !live(to)) return INVALID_HANDLE;
    double t[2];
    Event* both[] = {from, to};
    for (int i = 0; i < 2; i++) {
        std::lock_guard<std::mutex> g(both[i]->lock);
        if (!both[i]->recorded) return NOT_READY;
        t[i] = both[i]->ms;
    }
    *ms = (float)(t[1] - t[0]);
    return OK;
}
API cuEventDestroy_v2(Event* e) {
    if (!drop(e)) return INVALID_HANDLE;
    if (current) current->wait();
    delete e;
    return check();
}

// Graphs.

API cuStreamBeginCapture_v2(Stream* s, int) {
    if (int e = check(s)) return e;
    std::lock_guard<std::mutex> g(s->lock);
    if (s->capturing) return ILLEGAL_STATE;
    s->capturing = true;
    s->captured.clear();
    return OK;
}
API cuStreamEndCapture(Stream* s, void** graph) {
    if (int e = check(s)) return e;
    std::lock_guard<std::mutex> g(s->lock);
    if (!s->capturing || s->origin) return ILLEGAL_STATE;
    s->capturing = false;
    bool joined = true;
    for (Stream* f : s->forks) {
        std::lock_guard<std::mutex> g(f->lock);
        joined &= f->captured.empty();
        f->capturing = false;
        f->origin = nullptr;
        f->captured.clear();
    }
    s->forks.clear();
    if (!joined) {
        *graph = nullptr;
        s->captured.clear();
        return CAPTURE_UNJOINED;
    }
    *graph = keep(new Graph{std::move(s->captured)});
    return OK;
}
API cuGraphInstantiateWithFlags(void** exec, Graph* g, unsigned long long) {
    if (int e = check()) return e;
    if (!live(g)) return INVALID_HANDLE;
    *exec = keep(new Graph(*g));
    return OK;
}
API cuGraphDestroy(Graph* g) {
    if (!drop(g)) return INVALID_HANDLE;
    delete g;
    return check();
}
API cuGraphLaunch(Graph* g, Stream* s) {
    if (int e = check(s)) return e;
    if (!live(g)) return INVALID_HANDLE;
    for (const Op& op : g->ops) s->add(op);
    return OK;
}
API cuGraphExecDestroy(Graph* g) { return cuGraphDestroy(g); }
