// Device memory and page-locked memory: every allocation ends at a page that
// cannot be accessed, or up to 255 bytes before it, which are checked when it is
// freed. New memory is poisoned.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>

#include "driver.h"

namespace emulator {

namespace {

constexpr size_t page = 4096;
constexpr unsigned char poison = 0xff, margin = 0xa7;

size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

char* map(size_t n) {
    size_t all = up(n, page);
    char* p = (char*)mmap(nullptr, all + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    if (mprotect(p + page, all, PROT_READ | PROT_WRITE)) {
        munmap(p, all + 2 * page);
        return nullptr;
    }
    char* at = p + page + all - up(n, 256);
    memset(at, poison, n);
    memset(p + page, margin, at - (p + page));
    memset(at + n, margin, p + page + all - (at + n));
    return at;
}

// unmap reports whether the bytes around the allocation are as they were.
bool unmap(char* at, size_t n) {
    size_t all = up(n, page);
    char* p = at + up(n, 256) - all - page;
    bool intact = true;
    for (char* q = p + page; q < at; q++) intact &= (unsigned char)*q == margin;
    for (char* q = at + n; q < p + page + all; q++) intact &= (unsigned char)*q == margin;
    munmap(p, all + 2 * page);
    return intact;
}

std::mutex host_lock;
std::map<Ptr, size_t> host;

bool in(const std::map<Ptr, size_t>& m, Ptr p, size_t n) {
    auto i = m.upper_bound(p);
    if (i == m.begin()) return false;
    --i;
    return p - i->first <= i->second && n <= i->second - (p - i->first);
}

}  // namespace

int Device::alloc(Ptr* out, size_t n) {
    static std::atomic<long long> count{0};
    if (n == 0) return INVALID_VALUE;
    std::lock_guard<std::mutex> g(lock);
    if (++count == number("TRIT_EMU_FAIL_ALLOC", -1)) return OUT_OF_MEMORY;
    if (n > properties().memory || used + up(n, 512) > properties().memory) return OUT_OF_MEMORY;
    char* p = map(n);
    if (!p) return OUT_OF_MEMORY;
    used += up(n, 512);
    allocations[(Ptr)p] = n;
    *out = (Ptr)p;
    return OK;
}

int Device::free(Ptr p) {
    wait();
    std::lock_guard<std::mutex> g(lock);
    auto i = allocations.find(p);
    if (i == allocations.end()) return INVALID_VALUE;
    size_t n = i->second;
    allocations.erase(i);
    used -= up(n, 512);
    if (!unmap((char*)p, n)) {
        if (lost.code == OK) lost = {ILLEGAL_ADDRESS, "a kernel wrote just outside an allocation of " + std::to_string(n) + " bytes; this was seen when it was freed"};
        return lost.code;
    }
    return OK;
}

bool Device::holds(Ptr p, size_t n) {
    std::lock_guard<std::mutex> g(lock);
    return in(allocations, p, n);
}

void* host_alloc(size_t n) {
    void* p = map(n);
    std::lock_guard<std::mutex> g(host_lock);
    if (p) host[(Ptr)p] = n;
    return p;
}

bool host_free(void* p) {
    std::lock_guard<std::mutex> g(host_lock);
    auto i = host.find((Ptr)p);
    if (i == host.end()) return false;
    size_t n = i->second;
    host.erase(i);
    if (!unmap((char*)p, n)) fputs("the CUDA emulator: bytes just outside page-locked memory were written\n", stderr);
    return true;
}

bool host_locked(const void* p, size_t n) {
    std::lock_guard<std::mutex> g(host_lock);
    return in(host, (Ptr)p, n);
}

}  // namespace emulator
