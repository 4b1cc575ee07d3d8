#include "jit/context.h"

#include <new>
#include <sys/mman.h>

namespace calque::jit {

namespace {
constexpr std::size_t guard_bytes = page_size;
}

ContextMemory::ContextMemory() {
    mapping_ = ::mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::bad_alloc();
    ::mprotect(mapping_, guard_bytes, PROT_NONE);
    auto* const end = static_cast<std::byte*>(mapping_) + guard_bytes + stack_bytes;
    context_ = new (end - sizeof(JitContext)) JitContext;
}

ContextMemory::~ContextMemory() {
    context_->~JitContext();
    ::munmap(mapping_, guard_bytes + stack_bytes);
}

} // namespace calque::jit
