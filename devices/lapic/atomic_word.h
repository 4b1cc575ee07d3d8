// Atomic access to words of a plain State, which so stays copyable and easy to save.
#pragma once

#include <atomic>

namespace calque::devices {

template <class T> T load(const T& word) {
    return std::atomic_ref<T>(const_cast<T&>(word)).load(); // atomic_ref takes no const before C++26.
}
template <class T> void store(T& word, T value) { std::atomic_ref<T>(word).store(value); }

} // namespace calque::devices
