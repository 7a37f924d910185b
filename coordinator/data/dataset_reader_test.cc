#include "coordinator/data/dataset_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "base/sha256.h"

namespace hone::coordinator {
namespace {

class DatasetReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = "dataset_reader_test." + std::to_string(getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    ASSERT_TRUE(CreateDirectories(directory_).ok());
    spec_.mutable_columns()->set_prompt("prompt");
    spec_.mutable_columns()->set_answer("answer");
    spec_.mutable_columns()->set_id("id");
    spec_.mutable_columns()->set_language("language");
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  absl::StatusOr<PromptSource> Read(const std::string& text) {
    const std::string path = JoinPath(directory_, "data.jsonl");
    EXPECT_TRUE(WriteFileAtomic(path, text).ok());
    return ReadPromptSource(spec_, path, &sha256_);
  }
  void ExpectRefused(const std::string& text, const std::string& what) {
    const auto source = Read(text);
    EXPECT_EQ(source.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(std::string(source.status().message()).find(what), std::string::npos) << source.status();
    EXPECT_NE(std::string(source.status().message()).find("data.jsonl"), std::string::npos) << source.status();
  }

  std::string directory_;
  std::string sha256_;
  v1::SourceSpec spec_;
};

TEST_F(DatasetReaderTest, MapsColumnsAndKeepsOrder) {
  spec_.mutable_columns()->set_prompt("question");
  const std::string text =
      "{\"question\": \"1 + 1\", \"answer\": 2, \"language\": \"en\"}\n\n{\"question\": \"加\", \"id\": \"b\", "
      "\"answer\": null}\r\n{\"question\": \"x\", \"answer\": 0.5, \"id\": null}";
  const auto source = Read(text);
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_EQ(source->rows.size(), 3u);
  EXPECT_EQ(source->rows[0].id(), "1");
  EXPECT_EQ(source->rows[0].answer(), "2");
  EXPECT_EQ(source->rows[0].language(), "en");
  EXPECT_EQ(source->rows[1].id(), "b");
  EXPECT_EQ(source->rows[1].prompt(), "加");
  EXPECT_EQ(source->rows[1].answer(), "");
  EXPECT_EQ(source->rows[2].id(), "4");
  EXPECT_EQ(source->rows[2].answer(), "0.5");
  EXPECT_EQ(sha256_, Sha256Hex(text));
  spec_.set_max_rows(1);
  EXPECT_EQ(Read(text)->rows.size(), 1u);
}

TEST_F(DatasetReaderTest, RefusesWhatItCannotRead) {
  ExpectRefused("", "expected at least one row");
  ExpectRefused(" \n\n", "expected at least one row");
  ExpectRefused("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"", ":2: not JSON");
  ExpectRefused("[1]", ":1: expected a JSON object");
  ExpectRefused("{\"prompt\": \"a\xff\"}", ":1: not UTF-8");
  ExpectRefused("{\"promt\": \"a\"}", "did you mean 'promt'?");
  ExpectRefused("{\"prompt\": 3}", "key 'prompt': expected a non-empty string, got number");
  ExpectRefused("{\"prompt\": \"\"}", "got an empty one");
  ExpectRefused("{\"prompt\": \"a\", \"answer\": [1]}", "key 'answer'");
  ExpectRefused("{\"prompt\": \"a\", \"prompt\": \"b\"}", "key 'prompt' appears twice");
  ExpectRefused("{\"prompt\": \"a\", \"id\": \"b\\nc\"}", "key 'id'");
  EXPECT_EQ(ReadPromptSource(spec_, JoinPath(directory_, "none.jsonl"), &sha256_).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(DatasetReaderTest, RefusesRowsThatFitNoMessage) {
  const auto row = [](size_t prompt, size_t answer) {
    return "{\"prompt\": \"" + std::string(prompt, 'p') + "\", \"answer\": \"" + std::string(answer, 'a') + "\"}\n";
  };
  const size_t fits = kMaxRowBytes - 100;
  ExpectRefused(row(fits, 1) + row(fits, 101), ":2: the row is too large: prompt, answer, language and id have 16777");
}

TEST_F(DatasetReaderTest, LoadsWhatStagesHandOutWithUniqueIds) {
  ASSERT_TRUE(Read("{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"id\": 1}\n").ok());
  v1::RunSpec spec;
  for (int i = 0; i < 2; ++i) {
    spec_.set_path("data.jsonl");
    *(*spec.mutable_datasets())["train"].add_sources() = spec_;
  }
  (*spec.mutable_datasets())["unused"].add_sources()->set_path("missing.jsonl");
  spec.add_stages()->mutable_rl()->set_dataset("train");
  const auto loaded = LoadPrompts(spec, directory_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->sets.size(), 1u);
  // No row has an answer: that is a mistake as soon as a reward compares it.
  v1::RunSpec compared = spec;
  v1::RewardSpec* reward = compared.mutable_stages(0)->mutable_rl()->add_rewards();
  reward->mutable_accuracy();
  reward->set_weight(0);
  EXPECT_TRUE(LoadPrompts(compared, directory_).ok());
  reward->clear_weight();
  (*compared.mutable_datasets())["train"].mutable_sources(1)->mutable_columns()->set_answer("promt");
  EXPECT_EQ(LoadPrompts(compared, directory_).status().message(),
            "datasets.train: " + directory_ +
                "/data.jsonl: no row has the key 'answer', the answer that the accuracy "
                "reward compares with");
  (*compared.mutable_datasets())["train"].mutable_sources(0)->mutable_columns()->set_answer("promt");
  EXPECT_NE(std::string(LoadPrompts(compared, directory_).status().message()).find("did you mean 'prompt'?"),
            std::string::npos);
  std::vector<std::string> ids;
  for (const PromptSource& source : loaded->sets.at("train")->sources) {
    for (const v1::PromptRecord& row : source.rows) ids.push_back(row.id());
  }
  EXPECT_EQ(ids, (std::vector<std::string>{"1", "1@0:2", "1@1:1", "1@1:2"}));
  EXPECT_EQ(loaded->source_sha256.at("data.jsonl"), sha256_);
  spec.add_stages()->mutable_rl()->set_dataset("unused");
  const auto missing = LoadPrompts(spec, directory_);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(missing.status().message()).find("datasets.unused"), std::string::npos);
}

}  // namespace
}  // namespace hone::coordinator
