#include "coordinator/journal/journal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/files.h"
#include "coordinator/journal/frame.h"
#include "coordinator/journal/segments.h"

namespace hone::coordinator {
namespace {

class JournalTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = "journal_test." + std::to_string(getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    options_.directory = directory_;
    options_.retry_interval = absl::Milliseconds(5);
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  absl::StatusOr<std::unique_ptr<Journal>> Open() {
    records_.clear();
    spans_.clear();
    return Journal::Open(options_, [&](std::string_view payload, Journal::Span span) {
      records_.emplace_back(payload);
      spans_.push_back(span);
      return absl::OkStatus();
    });
  }
  // Writes `records` one by one, each durable before the next, so that each proves the ones before.
  void WriteEach(const std::vector<std::string>& records) {
    auto journal = Open();
    ASSERT_TRUE(journal.ok()) << journal.status();
    for (const std::string& record : records) {
      ASSERT_TRUE((*journal)->WaitDurable((*journal)->Append(record).end).ok());
    }
  }

  std::string directory_;
  Journal::Options options_;
  std::vector<std::string> records_;
  std::vector<Journal::Span> spans_;
};

TEST_F(JournalTest, ReadsBackWhatWasWrittenAcrossSegments) {
  options_.segment_bytes = 100;
  std::vector<std::string> written;
  for (int i = 0; i < 50; ++i) written.push_back(std::string(static_cast<size_t>(i), static_cast<char>('a' + i % 26)));
  WriteEach(written);
  EXPECT_GT(ListDirectory(directory_)->size(), 5u);
  auto journal = Open();
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(records_, written);
  for (size_t i = 0; i < written.size(); ++i) EXPECT_EQ(*(*journal)->Read(spans_[i].begin), written[i]);
  const Journal::Span span = (*journal)->Append("more");
  EXPECT_EQ(span.begin, spans_.back().end);
  ASSERT_TRUE((*journal)->WaitDurable(span.end).ok());
  EXPECT_EQ(*(*journal)->Read(span.begin), "more");
}

TEST_F(JournalTest, ManyThreadsShareTheWriter) {
  {
    auto journal = Open();
    ASSERT_TRUE(journal.ok());
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 100; ++i) {
          const std::string payload = std::to_string(t) + ":" + std::to_string(i);
          const Journal::Span span = (*journal)->Append(payload);
          ASSERT_TRUE((*journal)->WaitDurable(span.end).ok());
          ASSERT_EQ(*(*journal)->Read(span.begin), payload);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(records_.size(), 800u);
}

TEST_F(JournalTest, TornAtEveryByteKeepsTheWholeRecordsBefore) {
  const std::vector<std::string> written = {"first", "", "the third record"};
  WriteEach(written);
  const std::string path = SegmentPath(directory_, 0);
  const std::string bytes = *ReadFile(path);
  ASSERT_TRUE(Open().ok());
  const std::vector<Journal::Span> spans = spans_;
  for (size_t size = 0; size <= bytes.size(); ++size) {
    ASSERT_TRUE(WriteFileAtomic(path, bytes.substr(0, size)).ok());
    size_t whole = 0;
    while (whole < spans.size() && kSegmentHeaderBytes + static_cast<size_t>(spans[whole].end) <= size) ++whole;
    auto journal = Open();
    ASSERT_TRUE(journal.ok()) << "size " << size << ": " << journal.status();
    EXPECT_EQ(records_, std::vector<std::string>(written.begin(), written.begin() + static_cast<long>(whole)));
    // And it goes on from there.
    const Journal::Span span = (*journal)->Append("after");
    ASSERT_TRUE((*journal)->WaitDurable(span.end).ok());
    journal->reset();
    ASSERT_TRUE(Open().ok());
    ASSERT_EQ(records_.size(), whole + 1);
    EXPECT_EQ(records_.back(), "after");
  }
}

TEST_F(JournalTest, EveryFlippedBitOfADurableRecordIsDataLoss) {
  WriteEach({"first", "second", "third"});
  ASSERT_TRUE(Open().ok());
  const size_t second_end = kSegmentHeaderBytes + static_cast<size_t>(spans_[1].end);
  const std::string path = SegmentPath(directory_, 0);
  const std::string bytes = *ReadFile(path);
  for (size_t byte = 0; byte < second_end; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << bit));
      ASSERT_TRUE(WriteFileAtomic(path, damaged).ok());
      const auto journal = Open();
      ASSERT_EQ(journal.status().code(), absl::StatusCode::kDataLoss) << "byte " << byte << " bit " << bit;
      EXPECT_NE(std::string(journal.status().message()).find(path), std::string::npos);
      EXPECT_NE(std::string(journal.status().message()).find("offset"), std::string::npos);
      ASSERT_EQ(*ReadFile(path), damaged) << "a damaged journal must be left as it is";
    }
  }
}

TEST_F(JournalTest, FramesOfOneTornBatchAreCutTogether) {
  WriteEach({"durable"});
  const std::string path = SegmentPath(directory_, 0);
  std::string bytes = *ReadFile(path);
  const uint64_t synced = bytes.size() - kSegmentHeaderBytes;
  // Power went in the middle of a batch of two: the first frame's page was lost, the second's was not.
  std::string first = EncodeFrameHeader("lost", synced) + "lost";
  first[kFrameHeaderBytes] = '\0';
  bytes += first + EncodeFrameHeader("kept", synced) + "kept";
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(records_, std::vector<std::string>{"durable"});
}

TEST_F(JournalTest, MissingOrShortenedSegmentIsDataLoss) {
  options_.segment_bytes = 60;
  WriteEach(
      {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccc", "d", "e"});
  const std::vector<std::string> names = *ListDirectory(directory_);
  ASSERT_GE(names.size(), 2u);
  const std::string path = JoinPath(directory_, names[0]);
  const std::string bytes = *ReadFile(path);
  ASSERT_TRUE(WriteFileAtomic(path, bytes.substr(0, bytes.size() - 1)).ok());
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(RemoveTree(path).ok());
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(JournalTest, DamageFoundWhileReadingIsDataLoss) {
  WriteEach({"first", "second"});
  auto journal = Open();
  ASSERT_TRUE(journal.ok());
  const std::string path = SegmentPath(directory_, 0);
  std::string bytes = *ReadFile(path);
  bytes[kSegmentHeaderBytes + kFrameHeaderBytes] = 'F';
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_EQ((*journal)->Read(spans_[0].begin).status().code(), absl::StatusCode::kDataLoss);
}

// A real limit of the operating system, raised again: nothing that was acknowledged, and nothing that was queued, is
// lost.
TEST_F(JournalTest, FullDiskStallsAndGoesOnWithoutLoss) {
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  {
    auto journal = Open();
    ASSERT_TRUE(journal.ok());
    ASSERT_TRUE((*journal)->WaitDurable((*journal)->Append("before").end).ok());
    struct rlimit small = limit;
    small.rlim_cur = 200;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const Journal::Span span = (*journal)->Append(std::string(1000, 'x'));
    const absl::Status waited = (*journal)->WaitDurable(span.end);
    EXPECT_EQ(waited.code(), absl::StatusCode::kResourceExhausted) << waited;
    EXPECT_EQ((*journal)->Ready().code(), absl::StatusCode::kResourceExhausted);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    absl::Status again = waited;
    while (!again.ok()) {
      std::this_thread::yield();
      again = (*journal)->WaitDurable(span.end);
    }
    EXPECT_TRUE((*journal)->Ready().ok());
  }
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(records_, (std::vector<std::string>{"before", std::string(1000, 'x')}));
}

}  // namespace
}  // namespace hone::coordinator
