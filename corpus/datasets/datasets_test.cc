#include "corpus/datasets/datasets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "base/sha256.h"

namespace hone::corpus {
namespace {

using ::testing::HasSubstr;

// One problem in the two forms: what a data set's authors publish, and a local file of it.
constexpr const char* kPublished =
    "{\"question\": \"How many?\", \"answer\": \"48/2 = <<48/2=24>>24 clips.\\nAll: <<1000*2=2000>>2000\\n#### "
    "2,000\"}\n"
    "{\"question\": \"One caf\\u00e9?\", \"answer\": \"It is 5.\\n#### 5\"}\n";
constexpr const char* kLocal =
    "{\"id\":\"x/0\",\"problem\":\"How many?\",\"answer\":\"2000\",\"solution\":\"48/2 = <<48/2=24>>24 clips.\\nAll: "
    "<<1000*2=2000>>2000\"}\n"
    "{\"id\":\"x/1\",\"problem\":\"One café?\",\"answer\":\"5\",\"solution\":\"It is 5.\"}\n";

DatasetEntry Entry() {
  const std::string folder = std::filesystem::absolute("datasets-source").string();
  EXPECT_TRUE(CreateDirectories(folder).ok());
  EXPECT_TRUE(WriteFileAtomic(folder + "/published.jsonl", kPublished).ok());
  EXPECT_TRUE(WriteFileAtomic(folder + "/local.jsonl", kLocal).ok());
  return {"tiny",
          "none",
          "here",
          {{"train.jsonl",
            "tiny/",
            DatasetShare::kWhole,
            2,
            {"file://" + folder + "/published.jsonl", Sha256Hex(kPublished), DatasetForm::kGsm8k},
            {"local.jsonl", Sha256Hex(kLocal), DatasetForm::kProblemJsonl}}}};
}

TEST(Datasets, BothFormsGiveTheSameBytes) {
  const absl::Status downloaded = GetDataset(Entry(), "", "datasets-a");  // curl, from a file:// address
  ASSERT_TRUE(downloaded.ok()) << downloaded;
  const absl::Status copied = GetDataset(Entry(), "datasets-source", "datasets-b");
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(*ReadFile("datasets-a/train.jsonl"), *ReadFile("datasets-b/train.jsonl"));
  EXPECT_EQ(*ReadFile("datasets-a/train.jsonl"),
            "{\"id\":\"tiny/0\",\"prompt\":\"How many?\",\"answer\":\"2000\",\"completion\":\"<think>\\n48/2 = 24 "
            "clips.\\nAll: 2000\\n</think>\\n<answer> 2000 </answer>\"}\n"
            "{\"id\":\"tiny/1\",\"prompt\":\"One café?\",\"answer\":\"5\",\"completion\":\"<think>\\nIt is "
            "5.\\n</think>\\n<answer> 5 </answer>\"}\n");
  EXPECT_EQ(*ListDirectory("datasets-a"), (std::vector<std::string>{"hone_data.json", "train.jsonl"}))
      << "the download's own file must be gone";
}

TEST(Datasets, TheHalvesAreDisjointAndWhole) {
  DatasetEntry entry = Entry();
  DatasetPart& part = entry.parts[0];
  std::string halves;
  for (const DatasetShare share : {DatasetShare::kEvenHash, DatasetShare::kOddHash}) {
    part.share = share;
    // SHA-256: ba... and, of the café, an odd first byte.
    part.rows = 1;
    part.output = share == DatasetShare::kEvenHash ? "even.jsonl" : "odd.jsonl";
    const absl::Status status = GetDataset(entry, "datasets-source", "datasets-halves");
    ASSERT_TRUE(status.ok()) << status;
    halves += *ReadFile("datasets-halves/" + part.output);
  }
  EXPECT_THAT(halves, HasSubstr("How many?"));
  EXPECT_THAT(halves, HasSubstr("One café?"));
}

// A `curl` before the real one on the path counts its calls.
TEST(Datasets, PartsOfOneFileFetchItOnce) {
  ASSERT_TRUE(CreateDirectories("datasets-curl").ok());
  const std::string path = std::getenv("PATH");
  const std::string folder = std::filesystem::absolute("datasets-curl").string();
  ASSERT_TRUE(WriteFileAtomic("datasets-curl/calls", "").ok());
  ASSERT_TRUE(WriteFileAtomic("datasets-curl/curl", absl::StrCat("#!/bin/sh\necho called >> ", folder,
                                                                 "/calls\nPATH=", path, " exec curl \"$@\"\n"))
                  .ok());
  std::filesystem::permissions("datasets-curl/curl", std::filesystem::perms::owner_all);
  DatasetEntry entry = Entry();
  entry.parts.push_back(entry.parts[0]);
  entry.parts[1].output = "again.jsonl";
  setenv("PATH", absl::StrCat(folder, ":", path).c_str(), 1);
  const absl::Status status = GetDataset(entry, "", "datasets-once");
  setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(*ReadFile("datasets-curl/calls"), "called\n");
  EXPECT_EQ(*ReadFile("datasets-once/train.jsonl"), *ReadFile("datasets-once/again.jsonl"));
}

TEST(Datasets, AnotherFileIsRefused) {
  DatasetEntry entry = Entry();
  entry.parts[0].local.sha256[0] ^= 1;
  const absl::Status hash = GetDataset(entry, "datasets-source", "datasets-c");
  EXPECT_EQ(hash.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(hash.message()), HasSubstr("datasets-source/local.jsonl: not the expected file"));
  EXPECT_FALSE(FileExists("datasets-c/train.jsonl"));

  entry = Entry();
  entry.parts[0].rows = 3;
  EXPECT_THAT(std::string(GetDataset(entry, "datasets-source", "datasets-c").message()),
              HasSubstr("expected 3 rows, got 2"));

  entry = Entry();
  ASSERT_TRUE(WriteFileAtomic("datasets-source/local.jsonl", "{\"problem\": 3}\n").ok());
  entry.parts[0].local.sha256 = Sha256Hex("{\"problem\": 3}\n");
  EXPECT_THAT(std::string(GetDataset(entry, "datasets-source", "datasets-c").message()),
              HasSubstr("local.jsonl:1: expected an object with the text 'problem'"));

  EXPECT_EQ(GetDataset(Entry(), "datasets-nowhere", "datasets-c").code(), absl::StatusCode::kNotFound);
  entry = Entry();
  entry.parts[0].published.name += ".absent";
  EXPECT_EQ(GetDataset(entry, "", "datasets-c").code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(FileExists("datasets-c/train.jsonl"));
}

TEST(Datasets, NamesAreKnown) {
  EXPECT_EQ(FindDataset("gsm8k")->parts.size(), 2u);
  EXPECT_THAT(std::string(FindDataset("gsm9k").status().message()), HasSubstr("known: gsm8k, svamp"));
  EXPECT_EQ(FindDataset("svamp")->parts.size(), 3u);
  for (const DatasetEntry& entry : KnownDatasets()) {
    EXPECT_FALSE(entry.licence.empty());
    for (const DatasetPart& part : entry.parts) {
      EXPECT_EQ(part.published.sha256.size(), 64u);
      EXPECT_EQ(part.local.sha256.size(), 64u);
      EXPECT_TRUE(part.published.name.starts_with("https://"));
    }
  }
}

}  // namespace
}  // namespace hone::corpus
