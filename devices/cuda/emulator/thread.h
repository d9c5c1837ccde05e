// GPU threads on the CPU: each is a fiber with a stack of its own; a block's
// fibers take turns on one host thread, switching only where they wait for each
// other.
#pragma once
#include <cstddef>
#include <vector>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace emulator {

struct Warp;
struct Worker;

// Copy is an asynchronous copy that its thread has not waited for yet.
struct Copy {
    void* to;
    const void* from;
    int size, n;
};

// Product is a thread's part of a warpgroup's product that it has not waited for
// yet: run(d, a, b), of N rows of b.
struct Product {
    void (*run)(int* d, unsigned long long a, unsigned long long b);
    int* d;
    unsigned long long a, b;
};

// Thread is one thread of a block.
struct Thread {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    void* shared;  // the block's dynamic shared memory

    void* sp;
    char* stack;
    Worker* worker;
    Warp* warp;
    int lane;
    std::vector<Copy> copies;    // not yet done, oldest first
    std::vector<size_t> groups;  // where each committed group of copies ends
    std::vector<Product> products;        // of its warpgroup, likewise
    std::vector<size_t> product_groups;
};

// What waits for all lanes of a warp. Two lanes at different ones is an error.
enum Kind { SYNC = 1, SHUFFLE, VOTE, MMA, LDMATRIX };

// slot_bytes is the most that a lane hands to the others at once.
constexpr int slot_bytes = 32;

// exchange waits for all lanes of the warp and returns what they handed in,
// slot_bytes apart.
const unsigned char* exchange(Kind kind, const void* in, int size);

// barrier waits for `threads` threads of the block that call it with the same
// id, or for all that have not ended if threads is 0, and returns the number of
// those whose vote is not zero.
int barrier(int id, int threads, int vote);

// cluster_sync waits for all threads of all blocks of the cluster; in_cluster is where
// shared memory at p lies in another block of it.
void cluster_sync();
const void* in_cluster(const void* p, int block);

// fail ends the launch: the device is lost with the given driver error.
[[noreturn]] void fail(int code, const char* text);

void copy_later(Copy c);
void commit_copies();
void wait_copies(int groups);

void multiply_later(Product p);
void commit_products();
void wait_products(int groups);

// Barriers in shared memory. What they hold is the emulator's own.
void mbarrier_init(unsigned long long* b, int arrivals);
void mbarrier_arrive(unsigned long long* b);
void mbarrier_wait(unsigned long long* b, unsigned parity);
void copy_at_end(unsigned long long* b, Copy c);  // of the phase

// Call is what runs one thread of a kernel.
typedef void (*Call)(void* fn, void** args);

// Kernel is one __global__ function.
struct Kernel {
    const char* name;
    void* fn;
    Call call;
    std::vector<int> sizes;  // of its parameters
};

void add_kernel(const Kernel& k);
const Kernel* find_kernel(const char* name);

}  // namespace emulator

extern __thread emulator::Thread* emulated_self;
