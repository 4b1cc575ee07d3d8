// How long requests and operations on the whole image keep each other out.
#pragma once

#include "frontend/backends/block/qcow2_image.h"

namespace calque::backends {

// A read or a write is running: clusters that it may have looked up are not given to others.
class Qcow2Image::Request {
  public:
    explicit Request(Qcow2Image& image) : image_(image) {
        Lock lock(image_.mutex_);
        image_.changed_.wait(lock, [&] { return !image_.exclusive_; });
        generation_ = image_.generations_.enter();
    }
    ~Request() {
        Lock lock(image_.mutex_);
        image_.generations_.leave(generation_);
        if (image_.exclusive_) image_.changed_.notify_all();
    }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

  private:
    Qcow2Image& image_;
    u64 generation_;
};

// No request and no commit is running, and none starts. Requests come to their end before commits are kept out: they
// may need one.
class Qcow2Image::Exclusive {
  public:
    explicit Exclusive(Qcow2Image& image) : image_(image) {
        {
            Lock lock(image_.mutex_);
            image_.changed_.wait(lock, [&] { return !image_.exclusive_; });
            image_.exclusive_ = true;
            image_.changed_.wait(lock, [&] { return image_.generations_.idle(); });
        }
        commits_ = Lock(image_.commit_mutex_);
    }
    ~Exclusive() {
        commits_.unlock();
        Lock lock(image_.mutex_);
        image_.exclusive_ = false;
        image_.changed_.notify_all();
    }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

  private:
    Qcow2Image& image_;
    Lock commits_;
};

} // namespace calque::backends
