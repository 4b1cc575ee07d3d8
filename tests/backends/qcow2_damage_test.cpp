// qcow2 files that are damaged or lie: a sentence at open, or EIO and the corrupt bit; the file is not harmed further.
#include "tests/backends/qcow2_fixture.h"

namespace calque::backends {
namespace {

using namespace qcow2;
using test::MemoryDisk;
using test::MemoryImage;
using test::Qcow2Fixture;
using test::Sectors;
using test::shape_of;

constexpr u64 MiB = 1 << 20;

class Qcow2Damage : public testing::Test {
  protected:
    // An image with two data clusters, at 0 and 64 KiB of the disk.
    Qcow2Damage() : fixture({"", shape_of(4096), 0}, MiB) {
        auto image = fixture.open();
        EXPECT_EQ(image->write(0, Sectors::bytes(1, 8)), 0);
        EXPECT_EQ(image->write(65536, Sectors::bytes(2, 8)), 0);
        EXPECT_EQ(image->close(), 0);
        image.reset();
        l1 = load<u64>(at(field::l1_offset));
        l2 = load<u64>(at(l1)) & entry_offset_mask;
        refcount_block = load<u64>(at(load<u64>(at(field::refcount_offset))));
    }
    u8* at(u64 offset) { return fixture.disk->bytes.data() + offset; }
    template <class T> void put(u64 offset, T value) { store<T>(at(offset), value); }
    std::string failure(bool read_only = false) {
        auto opened = Qcow2Image::open(std::make_unique<MemoryImage>(fixture.disk, read_only), nullptr,
                                       {.read_only = read_only, .writethrough = false, .report = {}});
        return opened ? "" : opened.error().message;
    }
    // Opens; the write fails, is reported once, and sets the corrupt bit and nothing else.
    void expect_refused_write(u64 offset) {
        auto image = fixture.open();
        ASSERT_TRUE(image);
        std::vector<u8> before = fixture.disk->bytes;
        EXPECT_EQ(image->write(offset, Sectors::bytes(3)), EIO);
        EXPECT_EQ(image->write(512 * 1024, Sectors::bytes(3)), EIO) << "nothing is written any more";
        EXPECT_EQ(image->flush(), EIO);
        image.reset();
        store(before.data() + field::incompatible, incompatible::corrupt);
        EXPECT_EQ(fixture.disk->bytes, before);
        ASSERT_EQ(fixture.reports.size(), 1u);
        EXPECT_NE(failure().find("marked as corrupt"), std::string::npos);
        EXPECT_EQ(failure(true), "");
    }

    Qcow2Fixture fixture;
    u64 l1 = 0, l2 = 0, refcount_block = 0;
};

TEST_F(Qcow2Damage, HeadersThatLieAreRefused) {
    const std::vector<u8> good = fixture.disk->bytes;
    const auto expect = [&](const char* what, u64 offset, auto value) {
        fixture.disk->bytes = good;
        put(offset, value);
        const std::vector<u8> before = fixture.disk->bytes;
        EXPECT_NE(failure().find(what), std::string::npos) << what << " is not in: " << failure();
        EXPECT_EQ(fixture.disk->bytes, before);
    };
    expect("not a qcow2", 0, u32{0});
    expect("version is 4", field::version, u32{4});
    expect("version is 1", field::version, u32{1});
    expect("clusters of 2^8", field::cluster_bits, u32{8});
    expect("clusters of 2^22", field::cluster_bits, u32{22});
    expect("clusters of 2^4294967295", field::cluster_bits, ~u32{0});
    expect("AES", field::crypt_method, u32{1});
    expect("LUKS", field::crypt_method, u32{2});
    expect("encryption method of 9", field::crypt_method, u32{9});
    expect("disk size", field::size, ~u64{0});
    expect("too small", field::size, u64{1} << 40);
    expect("L1 table", field::l1_size, ~u32{0});
    expect("outside the file", field::l1_size, u32{1} << 20);
    expect("does not start at a cluster", field::l1_offset, u64{l1 + 8});
    expect("outside the file", field::l1_offset, u64{1} << 40);
    expect("overlaps the header", field::l1_offset, u64{0});
    expect("refcount table", field::refcount_clusters, u32{0});
    expect("refcount table", field::refcount_clusters, ~u32{0});
    expect("outside the file", field::refcount_offset, u64{1} << 60);
    expect("snapshots", field::snapshot_count, ~u32{0});
    expect("snapshot table", field::snapshot_count, u32{1});
    expect("outside the first cluster", field::backing_offset, u64{1} << 33);
    expect("header length of 0", field::header_length, u32{0});
    expect("header length of 105", field::header_length, u32{105});
    expect("header length of 8192", field::header_length, u32{8192});
    expect("refcounts of 2^7", field::refcount_order, u32{7});
    expect("compression type", field::compression_type, u8{1});
    expect("feature number 17", field::incompatible, u64{1} << 17);
    expect("subclusters", field::incompatible, incompatible::subclusters);
    expect("external data file", field::incompatible, incompatible::data_file);
    expect("marked as corrupt", field::incompatible, incompatible::corrupt);
    expect("overlap", field::l1_offset, u64{4096}); // The refcount table.
}

TEST_F(Qcow2Damage, TruncatedFilesDoNoHarm) {
    const std::vector<u8> good = fixture.disk->bytes;
    for (u64 length = 0; length < good.size(); length += 512) {
        fixture.disk->bytes.assign(good.begin(), good.begin() + static_cast<i64>(length));
        auto opened = Qcow2Image::open(std::make_unique<MemoryImage>(fixture.disk, true), nullptr,
                                       {.read_only = true, .writethrough = false, .report = {}});
        if (!opened) continue;
        std::vector<u8> data(MiB);
        EXPECT_TRUE((*opened)->read(0, data) == 0 || (*opened)->read(0, data) == EIO);
    }
}

TEST_F(Qcow2Damage, AnL2EntryWithReservedBitsIsAnErrorAndMarksTheImage) {
    put(l2, load<u64>(at(l2)) | 2);
    auto image = fixture.open();
    std::vector<u8> data(512);
    EXPECT_EQ(image->read(0, data), EIO);
    EXPECT_EQ(image->read(65536, data), 0) << "what is whole is still read";
    image.reset();
    EXPECT_EQ(load<u64>(at(field::incompatible)), incompatible::corrupt);
}

TEST_F(Qcow2Damage, AnImageOpenForReadingIsNotMarked) {
    put(l2, load<u64>(at(l2)) | 2);
    const std::vector<u8> before = fixture.disk->bytes;
    auto image = fixture.open(true);
    std::vector<u8> data(512);
    EXPECT_EQ(image->read(0, data), EIO);
    EXPECT_EQ(fixture.disk->bytes, before);
}

TEST_F(Qcow2Damage, DataPlacedOnTheL1TableIsNotWritten) {
    put(l2, l1 | entry_copied);
    expect_refused_write(0);
}

TEST_F(Qcow2Damage, DataPlacedOnARefcountBlockIsNotWritten) {
    put(l2, refcount_block | entry_copied);
    expect_refused_write(0);
}

TEST_F(Qcow2Damage, ACompressedClusterAtTheHeaderDoesNotFreeIt) {
    put(l2, entry_compressed);
    expect_refused_write(0);
}

TEST_F(Qcow2Damage, DataOutsideTheFileIsAnError) {
    put(l2, (u64{1} << 40) | entry_copied);
    expect_refused_write(0);
}

TEST_F(Qcow2Damage, DataCountedAsFreeIsNotWritten) {
    const u64 cluster = (load<u64>(at(l2)) & entry_offset_mask) / 4096;
    put(refcount_block + cluster * 2, u16{0});
    expect_refused_write(65536);
}

TEST_F(Qcow2Damage, DataOfASnapshotWithACopiedFlagIsNotWritten) {
    const u64 cluster = (load<u64>(at(l2)) & entry_offset_mask) / 4096;
    put(refcount_block + cluster * 2, u16{2});
    expect_refused_write(0);
}

TEST_F(Qcow2Damage, AnL1TableCountedAsFreeIsNotGivenOut) {
    put(refcount_block + l1 / 4096 * 2, u16{0});
    expect_refused_write(32768);
}

TEST_F(Qcow2Damage, TablesThatOverlapAreRefusedForWriting) {
    const std::vector<u8> good = fixture.disk->bytes;
    put(l1, refcount_block | entry_copied);
    EXPECT_NE(failure().find("overlap"), std::string::npos);
    fixture.disk->bytes = good;
    put(load<u64>(at(field::refcount_offset)), u64{1} << 50);
    EXPECT_NE(failure().find("refcount block 0"), std::string::npos);
    fixture.disk->bytes = good;
    put(l1, u64{3} | entry_copied);
    EXPECT_NE(failure().find("L1 table"), std::string::npos);
}

TEST_F(Qcow2Damage, CompressedGarbageIsAnError) {
    put(l2, (load<u64>(at(l2)) & entry_offset_mask) | entry_compressed);
    auto image = fixture.open(true);
    std::vector<u8> data(512);
    EXPECT_EQ(image->read(0, data), EIO);
}

TEST_F(Qcow2Damage, ASnapshotTableThatLiesIsRefused) {
    {
        auto image = fixture.open();
        ASSERT_TRUE(image->create_snapshot("one", 0, 0).ok());
    }
    const std::vector<u8> good = fixture.disk->bytes;
    const u64 table = load<u64>(at(field::snapshots_offset));
    put(table, u64{1} << 45);
    EXPECT_NE(failure().find("snapshot 0"), std::string::npos);
    fixture.disk->bytes = good;
    put(table + 36, ~u32{0});
    EXPECT_NE(failure().find("snapshot table"), std::string::npos);
    fixture.disk->bytes = good;
    put(table, l1);
    EXPECT_NE(failure().find("overlap"), std::string::npos);
}

TEST_F(Qcow2Damage, UnknownAutoclearFeaturesAreClearedByTheFirstWrite) {
    put(field::autoclear, u64{0x81});
    {
        auto image = fixture.open();
        std::vector<u8> data(512);
        EXPECT_EQ(image->read(0, data), 0);
    }
    EXPECT_EQ(load<u64>(at(field::autoclear)), 0x81u);
    {
        auto image = fixture.open();
        EXPECT_EQ(image->write(0, Sectors::bytes(9)), 0);
    }
    EXPECT_EQ(load<u64>(at(field::autoclear)), 0u);
}

} // namespace
} // namespace calque::backends
