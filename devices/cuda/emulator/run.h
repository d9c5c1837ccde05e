// Running launches.
#pragma once
#include <atomic>
#include <mutex>
#include <string>

#include "thread.h"

namespace emulator {

// Launch is one kernel call: it is copied when it is enqueued.
struct Launch {
    const Kernel* kernel;
    dim3 grid, block;
    unsigned shared;
    unsigned cluster;  // blocks, one after the other in x, that are there at once
    std::vector<unsigned long long> values;  // of the parameters, whole words each
    std::vector<size_t> at;                  // where each parameter begins in values
};

// Failure is how a launch ended: code 0 is success.
struct Failure {
    int code = 0;
    std::string text;
};

// most_cluster is the most blocks of a cluster: each has a host thread.
constexpr unsigned most_cluster = 16;

// run runs a launch to its end, on this thread and on helpers.
Failure run(const Launch& l);

// watch_faults makes bad accesses of kernels failures instead of crashes. It is
// called after the Go runtime has set its own handlers, which get all others.
void watch_faults();

// own_thread prepares a thread of the emulator.
void own_thread();

// number reads an environment variable.
long long number(const char* name, long long otherwise);

}  // namespace emulator
