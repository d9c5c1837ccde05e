// Fibers, warps and barriers; see thread.h.
#include "run.h"

#include <condition_variable>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unordered_map>

__thread emulator::Thread* emulated_self;

// emulated_switch saves the registers that a call must keep, stores the stack
// pointer in *from, and goes on at the stack `to`.
extern "C" void emulated_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.hidden emulated_switch
.globl emulated_switch
.type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulated_switch, . - emulated_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.hidden emulated_switch
.globl emulated_switch
.type emulated_switch, %function
emulated_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size emulated_switch, . - emulated_switch
)");
#else
#error "the emulator has no context switch for this processor"
#endif

namespace emulator {

namespace {

constexpr size_t page = 4096, stack_bytes = 256 << 10;
constexpr size_t shared_most = 256 << 10;  // more than any GPU has

// mapped is memory with an inaccessible page on either side.
char* mapped(size_t n) {
    char* p = (char*)mmap(nullptr, n + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, n, PROT_READ | PROT_WRITE)) {
        fputs("the CUDA emulator is out of memory\n", stderr);
        abort();
    }
    return p + page;
}

}  // namespace

struct Warp {
    int live = 0, arrived = 0;
    unsigned ended = 0;  // the lanes that hand in zeros from now on
    unsigned phase = 0;  // a lane may still read the slots of the one before
    Kind kind = SYNC;
    std::vector<Thread*> waiting;
    alignas(16) unsigned char slots[2][32][slot_bytes];
};

struct Barrier {
    int arrived = 0, votes = 0, result = 0;
    std::vector<Thread*> waiting;
};

// Cluster is what its blocks share.
struct Cluster {
    std::atomic<unsigned> arrived{0};
    std::atomic<bool> failed{false};
    char* shared[most_cluster];  // of each block
    unsigned blocks = 1;
};

// Worker runs one block at a time.
struct Worker {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    Barrier barriers[16];
    std::unordered_map<void*, std::vector<Thread*>> phases;  // who waits for barriers in shared memory
    std::unordered_map<void*, std::vector<Copy>> bulk;         // copies that a barrier waits for
    int live = 0;
    std::vector<Thread*> ready;  // a stack, so that a warp goes on before the next
    std::vector<char*> stacks;   // free ones
    char* left = nullptr;        // the stack of the thread that ended last, which may be in use
    char* shared = mapped(shared_most);
    void* main = nullptr;  // the stack of run_block
    void* dead = nullptr;  // where a thread that ended saves its registers
    sigjmp_buf escape;
    Failure failure;

    const Launch* launch = nullptr;
    Cluster* cluster = nullptr;  // null for a launch without
    std::vector<void*> args;

    void run_block(dim3 index);
    void next();
    void release(std::vector<Thread*>& waiting);
    void end_thread(Thread* t);
};

namespace {

bool reverse_order() {
    static const bool r = [] {
        const char* s = getenv("TRIT_EMU_ORDER");
        return s && !strcmp(s, "reverse");
    }();
    return r;
}

void thread_main() {
    Thread* t = emulated_self;
    Worker* w = t->worker;
    w->launch->kernel->call(w->launch->kernel->fn, w->args.data());
    w->end_thread(t);
}

char* new_stack(Worker* w) {
    if (w->stacks.empty()) return mapped(stack_bytes);
    char* s = w->stacks.back();
    w->stacks.pop_back();
    return s;
}

// start makes a stack on which emulated_switch returns into thread_main.
void start(Thread* t) {
    t->stack = new_stack(t->worker);
    void** top = (void**)(t->stack + stack_bytes);
#if defined(__x86_64__)
    *--top = nullptr;  // so that thread_main starts 8 bytes off a multiple of 16
    *--top = (void*)thread_main;
    for (int i = 0; i < 6; i++) *--top = nullptr;
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = (void*)thread_main;
#endif
    t->sp = top;
}

}  // namespace

// next goes on with another thread that can; the current one has been put where
// it waits, or has ended.
void Worker::next() {
    Thread* self = emulated_self;
    void** save = self ? &self->sp : &main;
    if (self && !self->stack) save = &dead;
    if (ready.empty()) {
        if (live > 0) fail(719, "every thread that has not ended waits at a barrier or for lanes of its warp: some never arrive");
        emulated_self = nullptr;
        emulated_switch(save, main);
        return;
    }
    Thread* t = ready.back();
    ready.pop_back();
    if (t == self) return;
    if (!t->stack) start(t);
    emulated_self = t;
    emulated_switch(save, t->sp);
}

void Worker::release(std::vector<Thread*>& waiting) {
    if (reverse_order())
        ready.insert(ready.end(), waiting.begin(), waiting.end());
    else
        ready.insert(ready.end(), waiting.rbegin(), waiting.rend());
    waiting.clear();
}

void Worker::end_thread(Thread* t) {
    Warp& w = *t->warp;
    w.live--;
    live--;
    w.ended |= 1u << t->lane;
    if (w.arrived > 0 && w.arrived == w.live) {
        w.arrived = 0;
        w.phase++;
        release(w.waiting);
    }
    Barrier& b = barriers[0];
    if (b.arrived > 0 && b.arrived == live) {
        b.result = b.votes;
        b.arrived = b.votes = 0;
        release(b.waiting);
    }
    if (left) stacks.push_back(left);
    left = t->stack;
    t->stack = nullptr;
    next();
    __builtin_unreachable();
}

const unsigned char* exchange(Kind kind, const void* in, int size) {
    Thread* t = emulated_self;
    Warp& w = *t->warp;
    unsigned char(*slots)[slot_bytes] = w.slots[w.phase & 1];
    if (size) memcpy(slots[t->lane], in, size);
    if (w.arrived == 0) {
        w.kind = kind;
        for (int i = 0; i < 32 && w.ended >> i; i++)
            if (w.ended >> i & 1) memset(slots[i], 0, slot_bytes);
    } else if (w.kind != kind)
        fail(719, "lanes of one warp wait for each other at different operations");
    if (++w.arrived == w.live) {
        w.arrived = 0;
        w.phase++;
        t->worker->release(w.waiting);
    } else {
        w.waiting.push_back(t);
        t->worker->next();
    }
    return slots[0];
}

int barrier(int id, int threads, int vote) {
    Thread* t = emulated_self;
    Worker* k = t->worker;
    if (id < 0 || id > 15 || threads % 32) fail(719, "a barrier's number is not 0 to 15, or its threads are not whole warps");
    Barrier& b = k->barriers[id];
    b.votes += vote;
    if (++b.arrived == (threads ? threads : k->live)) {
        b.result = b.votes;
        b.arrived = b.votes = 0;
        k->release(b.waiting);
    } else {
        b.waiting.push_back(t);
        k->next();
    }
    return b.result;
}

void cluster_sync() {
    Thread* t = emulated_self;
    Cluster* c = t->worker->cluster;
    if (!c) fail(719, "the kernel has no cluster");
    barrier(0, 0, 0);
    if (t->thread.x == 0 && t->thread.y == 0 && t->thread.z == 0) {
        unsigned n = ++c->arrived, all = (n + c->blocks - 1) / c->blocks * c->blocks;
        while (c->arrived < all) {
            if (c->failed) fail(719, "another block of the cluster has failed");
            std::this_thread::yield();
        }
    }
    barrier(0, 0, 0);
}

const void* in_cluster(const void* p, int block) {
    Thread* t = emulated_self;
    Cluster* c = t->worker->cluster;
    if (!c || block < 0 || (unsigned)block >= c->blocks) fail(719, "there is no such block in the cluster");
    return c->shared[block] + ((const char*)p - (const char*)t->shared);
}

void copy_later(Copy c) { emulated_self->copies.push_back(c); }
void commit_copies() { emulated_self->groups.push_back(emulated_self->copies.size()); }
void wait_copies(int keep) {
    Thread* t = emulated_self;
    if ((int)t->groups.size() <= keep) return;
    size_t done = t->groups.size() - keep, n = t->groups[done - 1];
    for (size_t i = 0; i < n; i++) {
        Copy& c = t->copies[i];
        memcpy(c.to, c.from, c.n);
        memset((char*)c.to + c.n, 0, c.size - c.n);
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + n);
    t->groups.erase(t->groups.begin(), t->groups.begin() + done);
    for (size_t& g : t->groups) g -= n;
}

void multiply_later(Product p) { emulated_self->products.push_back(p); }
void commit_products() { emulated_self->product_groups.push_back(emulated_self->products.size()); }
void wait_products(int keep) {
    Thread* t = emulated_self;
    if ((int)t->product_groups.size() <= keep) return;
    size_t done = t->product_groups.size() - keep, n = t->product_groups[done - 1];
    for (size_t i = 0; i < n; i++) t->products[i].run(t->products[i].d, t->products[i].a, t->products[i].b);
    t->products.erase(t->products.begin(), t->products.begin() + n);
    t->product_groups.erase(t->product_groups.begin(), t->product_groups.begin() + done);
    for (size_t& g : t->product_groups) g -= n;
}

namespace {

// Phases is a barrier in shared memory.
struct Phases {
    unsigned short arrivals, missing;
    unsigned phase;
};
static_assert(sizeof(Phases) == sizeof(unsigned long long), "sizes differ");

}  // namespace

void mbarrier_init(unsigned long long* b, int arrivals) {
    if (arrivals < 1 || arrivals > 0xffff) fail(719, "mbarrier.init: the number of arrivals is not 1 to 65535");
    *(Phases*)b = {(unsigned short)arrivals, (unsigned short)arrivals, 0};
}

void mbarrier_arrive(unsigned long long* b) {
    Phases* p = (Phases*)b;
    if (p->missing == 0 || p->missing > p->arrivals) fail(719, "mbarrier.arrive: the barrier was not initialized");
    if (--p->missing) return;
    p->missing = p->arrivals;
    p->phase++;
    Worker* w = emulated_self->worker;
    for (const Copy& c : w->bulk[b]) memcpy(c.to, c.from, c.n);
    w->bulk[b].clear();
    auto at = w->phases.find(b);
    if (at != w->phases.end()) w->release(at->second);
}

void copy_at_end(unsigned long long* b, Copy c) { emulated_self->worker->bulk[b].push_back(c); }

void mbarrier_wait(unsigned long long* b, unsigned parity) {
    while ((((Phases*)b)->phase & 1) == (parity & 1)) {
        Thread* t = emulated_self;
        t->worker->phases[b].push_back(t);
        t->worker->next();
    }
}

void fail(int code, const char* text) {
    Thread* t = emulated_self;
    Worker* w = t->worker;
    char where[512];
    snprintf(where, sizeof where, "%s (kernel %s, block (%u, %u, %u) of (%u, %u, %u), thread (%u, %u, %u) of (%u, %u, %u))", text,
             w->launch->kernel->name, t->block.x, t->block.y, t->block.z, t->grid_dim.x, t->grid_dim.y, t->grid_dim.z, t->thread.x,
             t->thread.y, t->thread.z, t->block_dim.x, t->block_dim.y, t->block_dim.z);
    w->failure = {code, where};
    emulated_self = nullptr;
    siglongjmp(w->escape, 1);
}

void Worker::run_block(dim3 index) {
    const Launch& l = *launch;
    int n = l.block.x * l.block.y * l.block.z;
    if ((int)threads.size() < n) threads.resize(n);
    if ((int)warps.size() * 32 < n) warps.resize((n + 31) / 32);
    // The end of shared memory is the end of a page.
    size_t room = (l.shared + 127) & ~127u;
    char* mem = shared + shared_most - room;
    memset(mem, 0xff, room);
    if (cluster) cluster->shared[index.x % cluster->blocks] = mem;
    for (Barrier& b : barriers) {
        b.arrived = b.votes = 0;
        b.waiting.clear();
    }
    phases.clear();
    bulk.clear();
    for (int i = 0; i * 32 < n; i++) {
        Warp& w = warps[i];
        w.live = w.arrived = 0;
        w.ended = 0;
        w.waiting.clear();
        memset(w.slots, 0, sizeof w.slots);
    }
    live = n;
    ready.clear();
    for (int i = 0; i < n; i++) {
        int j = reverse_order() ? i : n - 1 - i;
        Thread& t = threads[j];
        t.thread = {j % l.block.x, j / l.block.x % l.block.y, j / (l.block.x * l.block.y)};
        t.block = {index.x, index.y, index.z};
        t.block_dim = l.block;
        t.grid_dim = l.grid;
        t.shared = mem;
        t.worker = this;
        t.warp = &warps[j / 32];
        t.warp->live++;
        t.lane = j % 32;
        t.stack = nullptr;
        t.copies.clear();
        t.groups.clear();
        t.products.clear();
        t.product_groups.clear();
        ready.push_back(&t);
    }
    emulated_self = nullptr;
    next();
}

namespace {

// Workers and helper threads.

std::mutex workers_lock;
std::vector<Worker*> idle_workers;

Worker* take_worker() {
    std::lock_guard<std::mutex> g(workers_lock);
    if (idle_workers.empty()) return new Worker;
    Worker* w = idle_workers.back();
    idle_workers.pop_back();
    return w;
}

// Job is a launch under way.
struct Job {
    const Launch* launch;
    Cluster* cluster = nullptr;
    std::atomic<unsigned long long> next{0};
    unsigned long long blocks;
    std::atomic<bool> failed{false};
    std::mutex lock;
    std::condition_variable done;
    int helpers = 0;
    Failure failure;
};

void work(Job* j) {
    Worker* w = take_worker();
    w->launch = j->launch;
    w->cluster = j->cluster;
    w->args.clear();
    for (size_t at : j->launch->at) w->args.push_back((void*)&j->launch->values[at]);
    w->failure = {};
    if (sigsetjmp(w->escape, 1) == 0) {
        const dim3& g = j->launch->grid;
        while (!j->failed) {
            unsigned long long b = j->next++;
            if (b >= j->blocks) break;
            if (reverse_order() && !j->cluster) b = j->blocks - 1 - b;
            w->run_block(dim3(b % g.x, b / g.x % g.y, b / ((unsigned long long)g.x * g.y)));
            if (j->cluster) break;
        }
    } else {
        // Stacks of threads that did not end are free again.
        for (Thread& t : w->threads) {
            if (t.stack) w->stacks.push_back(t.stack);
            t.stack = nullptr;
        }
        std::lock_guard<std::mutex> g(j->lock);
        if (!j->failed) j->failure = w->failure;
        j->failed = true;
        if (j->cluster) j->cluster->failed = true;
    }
    std::lock_guard<std::mutex> g(workers_lock);
    idle_workers.push_back(w);
}

// Pool holds the helpers, which live as long as the process.
struct Pool {
    std::mutex lock;
    std::condition_variable wake;
    std::vector<Job*> jobs;

    Pool() {
        int n = (int)number("TRIT_EMU_THREADS", std::thread::hardware_concurrency() > 1 ? 2 : 1);
        for (int i = 1; i < n; i++) std::thread([this] { help(); }).detach();
    }

    void help() {
        own_thread();
        for (;;) {
            Job* j;
            {
                std::unique_lock<std::mutex> g(lock);
                wake.wait(g, [&] { return !jobs.empty(); });
                j = jobs.back();
                jobs.pop_back();
            }
            work(j);
            std::lock_guard<std::mutex> g(j->lock);
            j->helpers = 0;
            j->done.notify_all();
        }
    }

    void ask(Job* j) {
        j->helpers = 1;
        std::lock_guard<std::mutex> g(lock);
        jobs.push_back(j);
        wake.notify_one();
    }

    // withdraw waits for the helper, if one has come.
    void withdraw(Job* j) {
        {
            std::lock_guard<std::mutex> g(lock);
            for (size_t i = 0; i < jobs.size(); i++) {
                if (jobs[i] == j) {
                    jobs.erase(jobs.begin() + i);
                    return;
                }
            }
        }
        std::unique_lock<std::mutex> g(j->lock);
        j->done.wait(g, [&] { return j->helpers == 0; });
    }
};

}  // namespace

// run_clusters runs one cluster after the other. Each block has a host thread: they wait
// for each other.
static Failure run_clusters(const Launch& l) {
    unsigned long long blocks = (unsigned long long)l.grid.x * l.grid.y * l.grid.z;
    for (unsigned long long first = 0; first < blocks; first += l.cluster) {
        Cluster c;
        c.blocks = l.cluster;
        Job j;
        j.launch = &l;
        j.cluster = &c;
        j.next = first;
        j.blocks = first + l.cluster;
        std::vector<std::thread> others;
        for (unsigned i = 1; i < l.cluster; i++)
            others.emplace_back([&] {
                own_thread();
                work(&j);
            });
        work(&j);
        for (std::thread& t : others) t.join();
        if (j.failed) return j.failure;
    }
    return {};
}

Failure run(const Launch& l) {
    if (l.cluster > 1) return run_clusters(l);
    static Pool* pool = new Pool;
    Job j;
    j.launch = &l;
    j.blocks = (unsigned long long)l.grid.x * l.grid.y * l.grid.z;
    bool share = j.blocks > 1 && j.blocks * l.block.x * l.block.y * l.block.z >= 2048;
    if (share) pool->ask(&j);
    work(&j);
    if (share) pool->withdraw(&j);
    return j.failure;
}

// Faults.

namespace {

struct sigaction previous[65];

void on_fault(int sig, siginfo_t* info, void* context) {
    if (emulated_self) {
        char text[128];
        switch (sig) {
        case SIGILL:
            fail(716, "a misaligned access, or an index outside an array");
        case SIGTRAP:
            fail(716, "a misaligned access, or an index outside an array");
        case SIGFPE:
            fail(719, "an integer division by zero");
        default:
            snprintf(text, sizeof text, "an access to address %p, which is outside every allocation", info->si_addr);
            fail(700, text);
        }
    }
    struct sigaction& p = previous[sig];
    if (p.sa_flags & SA_SIGINFO) {
        p.sa_sigaction(sig, info, context);
    } else if (p.sa_handler != SIG_DFL && p.sa_handler != SIG_IGN) {
        p.sa_handler(sig);
    } else {
        signal(sig, SIG_DFL);
        raise(sig);
    }
}

const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

}  // namespace

void watch_faults() {
    static std::once_flag once;
    std::call_once(once, [] {
        for (int sig : faults) {
            struct sigaction a = {};
            a.sa_sigaction = on_fault;
            a.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
            sigaction(sig, &a, &previous[sig]);
        }
    });
}

void own_thread() {
    // Signals of the Go runtime are not for this thread.
    sigset_t all;
    sigfillset(&all);
    for (int sig : faults) sigdelset(&all, sig);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    // Handlers need a stack when a fiber's is full. One per thread, never freed
    // before the thread ends.
    static thread_local char* stack = (char*)mapped(64 << 10);
    stack_t s = {};
    s.ss_sp = stack;
    s.ss_size = 64 << 10;
    sigaltstack(&s, nullptr);
}

// Kernels.

static std::unordered_map<std::string, Kernel>& kernels() {
    static auto* m = new std::unordered_map<std::string, Kernel>;
    return *m;
}

void add_kernel(const Kernel& k) { kernels()[k.name] = k; }

const Kernel* find_kernel(const char* name) {
    // NAME_sm90 is NAME compiled to start early, which the emulator never does.
    std::string plain(name), early("_sm90");
    auto i = kernels().find(name);
    if (i == kernels().end() && plain.size() > early.size() && plain.compare(plain.size() - early.size(), early.size(), early) == 0)
        i = kernels().find(plain.substr(0, plain.size() - early.size()));
    return i == kernels().end() ? nullptr : &i->second;
}

long long number(const char* name, long long otherwise) {
    const char* s = getenv(name);
    return s && *s ? strtoll(s, nullptr, 0) : otherwise;
}

}  // namespace emulator
