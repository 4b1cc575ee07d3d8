// RAM in records of a state stream: runs of pages, each u64 number of the first page, u32 number of pages, u32 kind,
// then the pages where they are not zero; little-endian.
#include "base/bits.h"
#include "base/byte_order.h"
#include "frontend/backends/state/stream.h"
#include "frontend/machine/memory.h"
#include "mmu/guest_copy.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace calque::machine {

namespace {

constexpr std::size_t run_header = 16;
constexpr u32 run_data = 0, run_zero = 1;
constexpr u64 record_bytes = u64{1} << 20; // About as long as a record gets.
static_assert(record_bytes + run_header + page_size <= backends::largest_ram_record);

bool is_zero(const u8* page) { return page[0] == 0 && std::memcmp(page, page + 1, page_size - 1) == 0; }

// Calls `body` with each stretch of the file that holds data, as whole pages. RAM that the guest never touched has no
// host memory yet, and looking at it would give it some.
template <class F> void for_each_touched(int fd, u64 size, F&& body) {
    u64 at = 0;
    while (at < size) {
        u64 start = at, end = size;
        if (fd >= 0) {
            const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
            if (data < 0 && errno == ENXIO) return; // No more data.
            const off_t hole = data < 0 ? -1 : ::lseek(fd, data, SEEK_HOLE);
            if (hole >= 0) {
                start = static_cast<u64>(data) & ~u64{page_size - 1};
                end = std::min(size, align_up(static_cast<u64>(hole), u64{page_size}));
            }
        }
        body(start, end);
        at = end;
    }
}

// Appends pages to a record as runs.
class RunBuilder {
  public:
    explicit RunBuilder(std::vector<u8>& out) : out_(out) {}

    void add(u64 page, u32 kind) {
        if (pages_ == 0 || kind != kind_ || page != first_ + pages_) {
            finish();
            first_ = page;
            kind_ = kind;
            header_ = out_.size();
            out_.resize(out_.size() + run_header);
        }
        ++pages_;
    }
    void finish() {
        if (pages_ == 0) return;
        store_little(out_, header_, first_, 8);
        store_little(out_, header_ + 8, pages_, 4);
        store_little(out_, header_ + 12, kind_, 4);
        pages_ = 0;
    }

  private:
    std::vector<u8>& out_;
    std::size_t header_ = 0;
    u64 first_ = 0;
    u32 pages_ = 0, kind_ = run_data;
};

// Calls body(first page, pages, data) for each run; data is null for zeros. False when the record is malformed.
template <class F> bool for_each_run(std::span<const u8> record, u64 all_pages, F&& body) {
    while (!record.empty()) {
        if (record.size() < run_header) return false;
        const u64 first = little64(record, 0);
        const u32 pages = little32(record, 8), kind = little32(record, 12);
        record = record.subspan(run_header);
        if (pages == 0 || first >= all_pages || pages > all_pages - first || kind > run_zero) return false;
        const u64 bytes = kind == run_data ? u64{pages} * page_size : 0;
        if (bytes > record.size()) return false;
        body(first, pages, bytes != 0 ? record.data() : nullptr);
        record = record.subspan(bytes);
    }
    return true;
}

} // namespace

PageSet Memory::touched_pages() const {
    PageSet pages(page_count());
    for_each_touched(ram_.descriptor(), ram_.size(), [&](u64 start, u64 end) {
        for (u64 page = start / page_size; page < end / page_size; ++page)
            pages.add(page);
    });
    return pages;
}

PageSet Memory::take_dirty_pages() {
    PageSet pages(page_count());
    map_.take_dirty_pages(ram_.data(), page_count(), [&](u64 page) { pages.add(page); });
    map_.end_of_writers();
    return pages;
}

// A page is copied before it is looked at: the guest may be writing to it.
u64 Memory::pack(const PageSet& pages, u64 from, bool zeros, std::vector<u8>& record) const {
    record.clear();
    std::array<u8, page_size> copy;
    RunBuilder runs(record);
    u64 page = pages.next(from);
    while (page < pages.size() && record.size() < record_bytes) {
        mmu::copy_from_guest(copy.data(), ram_.data() + page * page_size, page_size);
        if (!is_zero(copy.data())) {
            runs.add(page, run_data);
            record.insert(record.end(), copy.begin(), copy.end());
        } else if (zeros) {
            runs.add(page, run_zero);
        }
        page = pages.next(page + 1);
    }
    runs.finish();
    return page;
}

Result<void> Memory::check_packed(std::span<const u8> record) const {
    if (for_each_run(record, page_count(), [](u64, u32, const u8*) {})) return {};
    return error("the saved state is damaged (pages of RAM that this machine does not have)");
}

Result<void> Memory::unpack(std::span<const u8> record, PageSet& loaded) {
    const bool good = for_each_run(record, page_count(), [&](u64 first, u32 pages, const u8* data) {
        for (u64 page = first; page < first + pages; ++page) {
            u8* const at = ram_.data() + page * page_size;
            if (data)
                map_.write_host(at, {data + (page - first) * page_size, page_size});
            else
                clear_page(page);
            loaded.add(page);
        }
    });
    if (!good) return error("the saved state is damaged (pages of RAM that this machine does not have)");
    return {};
}

void Memory::clear_all_but(const PageSet& loaded) {
    const PageSet touched = touched_pages();
    for (u64 page = touched.next(0); page < touched.size(); page = touched.next(page + 1))
        if (!loaded.contains(page)) clear_page(page);
}

void Memory::clear_page(u64 page) {
    static constexpr std::array<u8, page_size> zeros{};
    u8* const at = ram_.data() + page * page_size;
    if (std::memcmp(at, zeros.data(), page_size) != 0) map_.write_host(at, zeros);
}

} // namespace calque::machine
