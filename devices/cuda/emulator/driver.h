// The state behind the driver functions.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "run.h"

namespace emulator {

// The driver's error codes (CUresult) that the emulator returns.
enum {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    NO_BINARY = 209,
    INVALID_PTX = 218,
    UNSUPPORTED_PTX = 222,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    OUT_OF_RESOURCES = 701,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905,
    INVALID_CLUSTER_SIZE = 912,
};

typedef unsigned long long Ptr;

struct Stream;

// Device is one emulated GPU; its primary context is the device itself.
struct Device {
    int index;
    std::mutex lock;  // guards what follows
    int retained = 0;
    size_t used = 0;                   // bytes allocated
    std::map<Ptr, size_t> allocations;  // by address
    std::set<Stream*> streams;
    Failure lost;  // once its code is not 0, every call fails with it

    int alloc(Ptr* p, size_t n);
    int free(Ptr p);
    // holds reports whether n bytes at p are in one allocation.
    bool holds(Ptr p, size_t n);
    int status();
    void lose(Failure f);
    void wait();  // for all streams
};

// Op is one entry of a stream.
typedef std::function<Failure()> Op;

// Stream runs its entries in order. While it has some, a thread serves it.
struct Stream {
    Device* device;
    std::mutex lock;
    std::condition_variable changed;
    std::deque<Op> queue;
    bool served = false;
    bool capturing = false;
    Stream* origin = nullptr;     // whose capture a forked stream is part of
    std::set<Stream*> forks;      // of the origin
    std::vector<Op> captured;

    explicit Stream(Device* d);
    ~Stream();
    // add appends an entry, or records it.
    void add(Op op);
    void wait();
    // idle_soon waits a little.
    bool idle_soon();
    // serve runs what there is; only a thread that serves streams calls it.
    void serve();
};

struct Module {
    Device* device;
    std::string text;  // PTX
};

struct Function {
    const Kernel* kernel;
    Device* device;
    int most_threads;  // by .maxntid, or 1024
    unsigned cluster;  // blocks of one, by .reqnctapercluster, or 1
    int dynamic_shared = 48 << 10;
    bool large_clusters = false;  // of more than 8 blocks
};

struct Graph {
    std::vector<Op> ops;
};

struct Event {
    std::mutex lock;
    std::condition_variable changed;
    bool recorded = false;
    double ms = 0;
    Stream* captured_on = nullptr;  // recorded in a capture,
    size_t captured = 0;            // behind so many of its entries
};

// Properties of the emulated GPUs, from the environment.
struct Properties {
    int devices, sm, multiprocessors, l2, shared_optin, memory_khz, bus_bits, driver;
    size_t memory;
};
const Properties& properties();

std::vector<std::unique_ptr<Device>>& devices();

// current_device is the device of the calling thread's context.
Device* current_device();
// stream_status is what a call with this stream returns, of a thread's device.
int stream_status(Stream* s);

// Page-locked memory.
void* host_alloc(size_t n);
bool host_free(void* p);
bool host_locked(const void* p, size_t n);

// fail_launch reports whether the launch about to run is the one that is to
// lose the device.
bool fail_launch(Failure* f);

}  // namespace emulator
