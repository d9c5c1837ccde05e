// Streams.
#include "driver.h"

namespace emulator {

namespace {

// Servers are threads that serve streams, as many as there are busy ones.
struct Servers {
    std::mutex lock;
    std::condition_variable wake;
    std::deque<Stream*> waiting;
    size_t idle = 0;

    void submit(Stream* s) {
        std::lock_guard<std::mutex> g(lock);
        waiting.push_back(s);
        if (idle >= waiting.size())
            wake.notify_one();
        else
            std::thread([this] { run(); }).detach();
    }

    void run() {
        own_thread();
        std::unique_lock<std::mutex> g(lock);
        for (;;) {
            idle++;
            wake.wait(g, [&] { return !waiting.empty(); });
            idle--;
            Stream* s = waiting.front();
            waiting.pop_front();
            g.unlock();
            s->serve();
            g.lock();
        }
    }
};

Servers& servers() {
    static Servers* s = new Servers;
    return *s;
}

}  // namespace

Stream::Stream(Device* d) : device(d) {
    std::lock_guard<std::mutex> g(d->lock);
    d->streams.insert(this);
}

Stream::~Stream() {
    {
        std::lock_guard<std::mutex> g(device->lock);
        device->streams.erase(this);
    }
    wait();
}

void Stream::add(Op op) {
    std::lock_guard<std::mutex> g(lock);
    if (capturing) {
        captured.push_back(std::move(op));
        return;
    }
    queue.push_back(std::move(op));
    if (!served) {
        served = true;
        servers().submit(this);
    }
}

void Stream::wait() {
    std::unique_lock<std::mutex> g(lock);
    changed.wait(g, [&] { return !served; });
}

bool Stream::idle_soon() {
    std::unique_lock<std::mutex> g(lock);
    return changed.wait_for(g, std::chrono::microseconds(100), [&] { return !served; });
}

void Stream::serve() {
    std::unique_lock<std::mutex> g(lock);
    while (!queue.empty()) {
        Op op = std::move(queue.front());
        queue.pop_front();
        g.unlock();
        if (device->status() == OK) {
            Failure f = op();
            if (f.code != OK) device->lose(f);
        }
        op = nullptr;
        g.lock();
    }
    served = false;
    changed.notify_all();
}

int Device::status() {
    std::lock_guard<std::mutex> g(lock);
    return lost.code;
}

void Device::lose(Failure f) {
    std::lock_guard<std::mutex> g(lock);
    if (lost.code == OK) lost = f;
}

void Device::wait() {
    std::vector<Stream*> all;
    {
        std::lock_guard<std::mutex> g(lock);
        all.assign(streams.begin(), streams.end());
    }
    for (Stream* s : all) s->wait();
}

bool fail_launch(Failure* f) {
    static std::atomic<long long> count{0};
    static const long long at = number("TRIT_EMU_FAIL_LAUNCH", -1);
    if (++count != at) return false;
    *f = {(int)number("TRIT_EMU_FAIL_CODE", ILLEGAL_ADDRESS), "made to fail by TRIT_EMU_FAIL_LAUNCH"};
    return true;
}

}  // namespace emulator
