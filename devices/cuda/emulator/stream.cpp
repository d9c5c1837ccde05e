// Streams.
#include "driver.h"

namespace emulator {

Stream::Stream(Device* d) : device(d) {
    thread = std::thread([this] { serve(); });
    std::lock_guard<std::mutex> g(d->lock);
    d->streams.insert(this);
}

Stream::~Stream() {
    {
        std::lock_guard<std::mutex> g(device->lock);
        device->streams.erase(this);
    }
    {
        std::lock_guard<std::mutex> g(lock);
        ending = true;
        changed.notify_all();
    }
    thread.join();
}

void Stream::add(Op op) {
    std::lock_guard<std::mutex> g(lock);
    if (capturing) {
        captured.push_back(std::move(op));
        return;
    }
    queue.push_back(std::move(op));
    changed.notify_all();
}

void Stream::wait() {
    std::unique_lock<std::mutex> g(lock);
    changed.wait(g, [&] { return queue.empty() && !busy; });
}

bool Stream::idle() {
    std::lock_guard<std::mutex> g(lock);
    return queue.empty() && !busy;
}

void Stream::serve() {
    own_thread();
    std::unique_lock<std::mutex> g(lock);
    for (;;) {
        changed.wait(g, [&] { return !queue.empty() || ending; });
        if (queue.empty()) return;
        Op op = std::move(queue.front());
        queue.pop_front();
        busy = true;
        g.unlock();
        if (device->status() == OK) {
            Failure f = op();
            if (f.code != OK) device->lose(f);
        }
        g.lock();
        busy = false;
        changed.notify_all();
    }
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
