// The functions of NCCL that devices/cuda uses, between emulated GPUs of one
// process. Their meaning is that of NVIDIA's reference manual of NCCL.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include "driver.h"

using namespace emulator;

namespace {

enum { SUCCESS = 0, INTERNAL = 3, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE = 6 };
enum Kind { ALL_REDUCE, REDUCE_SCATTER, REDUCE, ALL_GATHER, BROADCAST };

struct Call {
    Kind kind;
    const char* x;
    char* y;
    size_t n;
    int type, op, root;
    bool same(const Call& o) const { return kind == o.kind && n == o.n && type == o.type && op == o.op && root == o.root; }
};

// Meeting is one call of all ranks.
struct Meeting {
    std::map<int, Call> calls;  // by rank
    int left = 0;               // ranks that have not seen yet that it is done
};

struct Group {
    std::mutex lock;
    std::condition_variable changed;
    int size = 0, joined = 0;
    std::map<unsigned long long, Meeting> meetings;
};

struct Comm {
    std::shared_ptr<Group> group;
    int rank = 0;
    Device* device = nullptr;
    unsigned long long next = 0;  // call, guarded by the group's lock
    bool aborted = false;         // likewise
    std::atomic<int> failed{SUCCESS};
};

typedef std::shared_ptr<Comm>* Handle;

struct Queued {
    std::shared_ptr<Comm> comm;
    Stream* stream;
    Call call;
};

std::mutex lock;
std::map<std::string, std::shared_ptr<Group>> groups;  // by id
thread_local std::string last;
thread_local int depth;                // of groups of calls
thread_local std::vector<Queued> queued;  // in them

int refuse(int code, const char* why) {
    last = why;
    return code;
}

size_t width(int type) {
    static const size_t bytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
    return type >= 0 && type < 10 ? bytes[type] : 0;
}

template <typename T>
void combine(char* to, const char* from, size_t n, int op) {
    T* y = (T*)to;
    const T* x = (const T*)from;
    for (size_t i = 0; i < n; i++) y[i] = op == 0 ? y[i] + x[i] : op == 2 ? std::max(y[i], x[i]) : std::min(y[i], x[i]);
}

// reduce is the reduction of n elements from at on. It begins with rank first and
// goes round, as on a ring.
std::vector<char> reduce(Meeting& m, int size, size_t at, size_t n, int first) {
    const Call& c = m.calls[0];
    size_t w = width(c.type);
    std::vector<char> y(n * w);
    if (n == 0) return y;
    for (int i = 0; i < size; i++) {
        const char* x = m.calls[(first + i) % size].x + at * w;
        if (i == 0)
            memcpy(y.data(), x, n * w);
        else if (c.type == 7)
            combine<float>(y.data(), x, n, c.op);
        else if (c.type == 2)
            combine<int>(y.data(), x, n, c.op);
    }
    return y;
}

void perform(Meeting& m, int size) {
    const Call c = m.calls[0];
    size_t bytes = c.n * width(c.type);
    std::vector<std::vector<char>> ys(size);  // written when everything is read
    for (int r = 0; r < size; r++) {
        switch (c.kind) {
        case ALL_REDUCE:
            for (int k = 0; k < size; k++) {
                size_t from = c.n * k / size, to = c.n * (k + 1) / size;
                std::vector<char> part = reduce(m, size, from, to - from, (k + 1) % size);
                ys[r].insert(ys[r].end(), part.begin(), part.end());
            }
            break;
        case REDUCE_SCATTER: ys[r] = reduce(m, size, c.n * r, c.n, (r + 1) % size); break;
        case REDUCE:
            if (r == c.root) ys[r] = reduce(m, size, 0, c.n, (r + 1) % size);
            break;
        case ALL_GATHER:
            for (int k = 0; k < size; k++) ys[r].insert(ys[r].end(), m.calls[k].x, m.calls[k].x + bytes);
            break;
        case BROADCAST: ys[r].assign(m.calls[c.root].x, m.calls[c.root].x + bytes); break;
        }
    }
    for (int r = 0; r < size; r++)
        if (!ys[r].empty()) memcpy(m.calls[r].y, ys[r].data(), ys[r].size());
}

// meet runs one call on a stream's thread. It waits for the other ranks, or until
// its own end of the group is aborted.
Failure meet(const std::shared_ptr<Comm>& c, const Call& call) {
    Group& g = *c->group;
    std::unique_lock<std::mutex> l(g.lock);
    if (c->aborted) return {};
    unsigned long long at = c->next++;
    Meeting& m = g.meetings[at];
    for (auto& other : m.calls)
        if (!other.second.same(call)) c->failed = INVALID_USAGE;
    m.calls[c->rank] = call;
    if ((int)m.calls.size() == g.size && c->failed == SUCCESS) {
        perform(m, g.size);
        m.left = g.size;
        g.changed.notify_all();
    }
    g.changed.wait(l, [&] { return c->aborted || m.left > 0; });
    if (m.left > 0 && --m.left == 0) g.meetings.erase(at);
    return {};
}

void submit() {
    std::vector<Queued> now;
    now.swap(queued);
    for (Queued& q : now) q.stream->add([q]() -> Failure { return meet(q.comm, q.call); });
}

int add(Handle h, Stream* s, Call call) {
    if (!h) return refuse(INVALID_ARGUMENT, "no communicator");
    std::shared_ptr<Comm> c = *h;
    if (c->aborted) return refuse(INVALID_ARGUMENT, "the communicator is aborted");
    if (current_device() != c->device) return refuse(INVALID_ARGUMENT, "another device is current than the communicator's");
    if (stream_status(s)) return refuse(1, "the stream cannot be used");
    if (!width(call.type)) return refuse(INVALID_ARGUMENT, "unknown type");
    size_t bytes = call.n * width(call.type), all = bytes * c->group->size;
    bool root = c->rank == call.root;
    size_t read = call.kind == REDUCE_SCATTER ? all : call.kind == BROADCAST && !root ? 0 : bytes;
    size_t written = call.kind == ALL_GATHER ? all : call.kind == REDUCE && !root ? 0 : bytes;
    if (read && !c->device->holds((Ptr)call.x, read)) return refuse(INVALID_ARGUMENT, "the operand is not in device memory");
    if (written && !c->device->holds((Ptr)call.y, written)) return refuse(INVALID_ARGUMENT, "the result is not in device memory");
    queued.push_back({c, s, call});
    if (depth == 0) submit();
    return SUCCESS;
}

// end frees a rank's end of a group when no graph and no stream uses it.
int end(Handle h) {
    std::weak_ptr<Comm> w = *h;
    delete h;
    while (!w.expired()) usleep(1000);
    return SUCCESS;
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API int ncclGetVersion(int* v) {
    *v = 22809;
    return SUCCESS;
}
API const char* ncclGetErrorString(int code) {
    switch (code) {
    case SUCCESS: return "no error";
    case INTERNAL: return "internal error";
    case INVALID_ARGUMENT: return "invalid argument";
    case INVALID_USAGE: return "invalid usage";
    case REMOTE: return "remote process exited or there was a network error";
    }
    return "unhandled cuda error";
}
API const char* ncclGetLastError(Handle) { return last.c_str(); }

// Groups of ranks.

API int ncclGetUniqueId(char* id) {
    static std::atomic<int> count{0};
    memset(id, 0, 128);
    snprintf(id, 128, "emulated group %d", count++);
    return SUCCESS;
}
API int ncclCommInitRankScalable(Handle* out, int size, int rank, int ids, const char* id, void*) {
    if (size < 1 || rank < 0 || rank >= size || ids != 1) return refuse(INVALID_ARGUMENT, "a rank that cannot be");
    if (!current_device()) return refuse(1, "no context is current");
    std::shared_ptr<Group> g;
    {
        std::lock_guard<std::mutex> l(lock);
        auto& at = groups[std::string(id, 128)];
        if (!at) at = std::make_shared<Group>();
        g = at;
    }
    std::unique_lock<std::mutex> l(g->lock);
    if (g->size && g->size != size) return refuse(INVALID_ARGUMENT, "ranks of groups of two sizes");
    g->size = size;
    g->joined++;
    g->changed.notify_all();
    g->changed.wait(l, [&] { return g->joined == g->size; });
    auto c = std::make_shared<Comm>();
    c->group = g;
    c->rank = rank;
    c->device = current_device();
    *out = new std::shared_ptr<Comm>(c);
    return SUCCESS;
}
API int ncclCommDestroy(Handle h) { return h ? end(h) : INVALID_ARGUMENT; }
API int ncclCommAbort(Handle h) {
    if (!h) return INVALID_ARGUMENT;
    {
        Group& g = *(*h)->group;
        std::lock_guard<std::mutex> l(g.lock);
        (*h)->aborted = true;
        g.changed.notify_all();
    }
    return end(h);
}
API int ncclCommGetAsyncError(Handle h, int* code) {
    if (!h) return INVALID_ARGUMENT;
    *code = (*h)->failed;
    return SUCCESS;
}

// Calls. A group of them is queued when it ends.

API int ncclGroupStart() {
    depth++;
    return SUCCESS;
}
API int ncclGroupEnd() {
    if (depth == 0) return refuse(INVALID_USAGE, "no group to end");
    if (--depth == 0) submit();
    return SUCCESS;
}
API int ncclAllReduce(const char* x, char* y, size_t n, int type, int op, Handle c, Stream* s) {
    return add(c, s, {ALL_REDUCE, x, y, n, type, op, -1});
}
API int ncclReduceScatter(const char* x, char* y, size_t n, int type, int op, Handle c, Stream* s) {
    return add(c, s, {REDUCE_SCATTER, x, y, n, type, op, -1});
}
API int ncclReduce(const char* x, char* y, size_t n, int type, int op, int root, Handle c, Stream* s) {
    return add(c, s, {REDUCE, x, y, n, type, op, root});
}
API int ncclAllGather(const char* x, char* y, size_t n, int type, Handle c, Stream* s) {
    return add(c, s, {ALL_GATHER, x, y, n, type, 0, -1});
}
API int ncclBroadcast(const char* x, char* y, size_t n, int type, int root, Handle c, Stream* s) {
    return add(c, s, {BROADCAST, x, y, n, type, 0, root});
}
