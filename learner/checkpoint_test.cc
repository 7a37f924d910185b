#include "learner/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/files.h"
#include "base/subprocess.h"
#include "hone/v1/coordinator.pb.h"
#include "learner/checkpoint_writer.h"
#include "learner/optimizer.h"
#include "learner/testing/tiny_world.h"

namespace hone::learner {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    folder_ = FreshFolder("checkpoint");
    WriteTinyModel(JoinPath(folder_, "model"));
    auto config = model::LoadModelConfig(JoinPath(folder_, "model"));
    EXPECT_TRUE(config.ok()) << config.status().ToString();
    config_ = *std::move(config);
    auto files = ReadModelFiles(JoinPath(folder_, "model"));
    EXPECT_TRUE(files.ok());
    files_ = *std::move(files);
    masters_ = model::RandomParameters(config_, 1);
    first_ = MomentsOf(config_, model::RandomParameters(config_, 2));
    second_ = MomentsOf(config_, model::RandomParameters(config_, 3));
    state_ = {.run = "demo",
              .stage = "zero",
              .spec_hash = "abc",
              .version = 25,
              .parent_version = 24,
              .step = 20,
              .optimizer_updates = 39,
              .optimizer_skipped = 1,
              .journal_position = int64_t{1} << 40,
              .root_hash = model::RootHash(config_, masters_)};
  }
  CheckpointSource Source(int64_t epoch = 7) const {
    return {.learner_epoch = epoch,
            .state = &state_,
            .config = &config_,
            .files = &files_,
            .masters = &masters_,
            .first_moment = &first_,
            .second_moment = &second_};
  }
  absl::StatusOr<std::string> Write(int64_t epoch = 7) { return WriteCheckpoint(Source(epoch), folder_); }

  std::string folder_;
  model::ModelConfig config_;
  ModelFiles files_;
  model::FlatTensor masters_;
  Moments first_, second_;
  CheckpointState state_;
};

bool Equal(const model::FlatTensor& a, const model::FlatTensor& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool Equal(const Moments& a, const Moments& b) {
  if (a.format() != b.format() || a.elements() != b.elements()) return false;
  for (size_t i = 0; i < a.elements().size(); ++i) {
    if (!std::ranges::equal(a.values(i), b.values(i)) || !std::ranges::equal(a.scales(i), b.scales(i))) return false;
  }
  return true;
}

// Moments of a narrow format, with something in them.
std::pair<Moments, Moments> Stepped(const model::ModelConfig& config, Moments::Format format) {
  const auto kernels = kernels::KernelContext::Create(1);
  AdamW optimizer(*kernels, config, {.schedule = {.peak = 0.01}, .moments = format});
  model::FlatTensor masters = model::RandomParameters(config, 1);
  optimizer.Step(1, model::RandomParameters(config, 5), &masters);
  std::pair<Moments, Moments> moments;
  moments.first.CopyFrom(optimizer.first_moment());
  moments.second.CopyFrom(optimizer.second_moment());
  return moments;
}

TEST_F(CheckpointTest, NarrowMomentsComeBackAsTheyAreStored) {
  for (const auto format : {Moments::Format::kBf16, Moments::Format::kF8}) {
    std::tie(first_, second_) = Stepped(config_, format);
    const auto path = Write();
    ASSERT_TRUE(path.ok()) << path.status();
    const auto loaded = LoadCheckpoint(*path, CheckpointParts::kAll);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_TRUE(Equal(loaded->first_moment, first_));
    EXPECT_TRUE(Equal(loaded->second_moment, second_));
    CheckpointWriter writer;
    state_.step += 20;
    writer.Begin(Source(), folder_);
    const auto later = writer.Wait();
    ASSERT_TRUE(later.ok()) << later.status();
    EXPECT_TRUE(Equal(LoadCheckpoint(*later, CheckpointParts::kAll)->second_moment, second_));
  }
}

TEST_F(CheckpointTest, TheWriterWritesWhatWasThereWhenItBegan) {
  const model::FlatTensor previous = model::RandomParameters(config_, 4);
  state_.previous_root_hash = std::string(64, 'e');
  CheckpointSource source = Source();
  source.previous = &previous;
  CheckpointWriter writer;
  EXPECT_FALSE(writer.pending());
  for (const int32_t step : {20, 40}) {
    state_.step = step;
    state_.root_hash = model::RootHash(config_, masters_);
    const float first = masters_.data()[0];
    writer.Begin(source, folder_);
    masters_.data()[0] = first + 1;
    state_.step = 99;
    EXPECT_TRUE(writer.pending());
    const auto path = writer.Wait();
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_FALSE(writer.pending());
    const auto loaded = LoadCheckpoint(*path, CheckpointParts::kAll);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->state.step, step);
    EXPECT_EQ(loaded->model.masters.data()[0], first);
    EXPECT_TRUE(Equal(loaded->second_moment, second_));
    EXPECT_TRUE(Equal(loaded->previous, previous));
  }
  writer.Begin(source, "/dev/null/folder");
  EXPECT_FALSE(writer.Wait().ok());
}

TEST_F(CheckpointTest, ComesBackBitForBit) {
  const auto path = Write();
  ASSERT_TRUE(path.ok()) << path.status().ToString();
  EXPECT_EQ(*path, JoinPath(folder_, "step-000020"));
  EXPECT_EQ(*ListDirectory(folder_), (std::vector<std::string>{"model", "step-000020"}));
  const auto loaded = LoadCheckpoint(*path, CheckpointParts::kAll);
  ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
  EXPECT_TRUE(Equal(loaded->model.masters, masters_));
  EXPECT_TRUE(Equal(loaded->first_moment, first_));
  EXPECT_TRUE(Equal(loaded->second_moment, second_));
  EXPECT_EQ(loaded->state.run, "demo");
  EXPECT_EQ(loaded->state.stage, "zero");
  EXPECT_EQ(loaded->state.spec_hash, "abc");
  EXPECT_EQ(loaded->state.version, 25);
  EXPECT_EQ(loaded->state.parent_version, 24);
  EXPECT_EQ(loaded->state.step, 20);
  EXPECT_EQ(loaded->state.optimizer_updates, 39);
  EXPECT_EQ(loaded->state.optimizer_skipped, 1);
  EXPECT_EQ(loaded->state.journal_position, int64_t{1} << 40);
  EXPECT_EQ(loaded->model.files.at("tokenizer.json"), files_.at("tokenizer.json"));
}

TEST_F(CheckpointTest, ItsModelFolderIsAModel) {
  const auto path = Write();
  ASSERT_TRUE(path.ok()) << path.status().ToString();
  v1::WeightsOrigin as_model, as_checkpoint;
  as_model.set_model_path(JoinPath(*path, "model"));
  as_checkpoint.set_checkpoint_path(*path);
  for (const v1::WeightsOrigin& origin : {as_model, as_checkpoint}) {
    const auto loaded = LoadOrigin(origin, 0);
    ASSERT_TRUE(loaded.ok()) << loaded.status().ToString();
    EXPECT_TRUE(Equal(loaded->masters, masters_));
    EXPECT_EQ(loaded->files.count("tokenizer.json"), 1u);
  }
}

TEST_F(CheckpointTest, AnotherOneOfTheSameStepIsReplaced) {
  ASSERT_TRUE(Write().ok());
  std::ofstream(JoinPath(folder_, "step-000020/left.over")) << "x";
  masters_ = model::RandomParameters(config_, 4);
  state_.root_hash = model::RootHash(config_, masters_);
  const auto path = Write();
  ASSERT_TRUE(path.ok()) << path.status().ToString();
  EXPECT_FALSE(FileExists(JoinPath(*path, "left.over")));
  EXPECT_TRUE(LoadCheckpoint(*path, CheckpointParts::kAll).ok());
  EXPECT_EQ(*ListDirectory(folder_), (std::vector<std::string>{"model", "step-000020"}));
}

// The coordinator may have recorded it, and a learner of another epoch may be reading it.
TEST_F(CheckpointTest, TheSameOneIsNotTouched) {
  ASSERT_TRUE(Write().ok());
  const std::string folder = JoinPath(folder_, "step-000020");
  struct stat before {};
  ASSERT_EQ(stat(folder.c_str(), &before), 0);
  const auto path = Write();
  ASSERT_TRUE(path.ok()) << path.status().ToString();
  struct stat after {};
  ASSERT_EQ(stat(folder.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(*ListDirectory(folder_), (std::vector<std::string>{"model", "step-000020"}));
}

TEST_F(CheckpointTest, WhatEarlierLearnersLeftIsRemovedAndALatersIsNot) {
  for (const char* name : {"step-000020.tmp", "step-000010.6.tmp", "step-000020.6.old.tmp", "step-000020.7.tmp",
                           "step-000020.7.old.tmp", "step-000020.8.tmp", "step-000020.10.old.tmp"}) {
    ASSERT_TRUE(CreateDirectories(JoinPath(folder_, std::string(name) + "/model")).ok());
  }
  ASSERT_TRUE(Write().ok());
  EXPECT_EQ(*ListDirectory(folder_),
            (std::vector<std::string>{"model", "step-000020", "step-000020.10.old.tmp", "step-000020.8.tmp"}));
}

TEST_F(CheckpointTest, RemovedOnesAreGoneWholeAndNothingElseIs) {
  ASSERT_TRUE(Write().ok());
  const std::string path = JoinPath(folder_, "step-000020");
  EXPECT_TRUE(IsCheckpointOf("/out/../runs", "/out/../runs/step-000020"));
  for (const char* other : {"/out/../runs/step-000020/model", "/out/../runs/step-../../x", "/out/../runs/model",
                            "/out/../runs/step-000020.7.tmp", "/elsewhere/step-000020"}) {
    EXPECT_FALSE(IsCheckpointOf("/out/../runs", other)) << other;
  }
  EXPECT_TRUE(RemoveCheckpoint(path, 7).ok());
  EXPECT_EQ(*ListDirectory(folder_), std::vector<std::string>{"model"});
  EXPECT_TRUE(RemoveCheckpoint(path, 7).ok()) << "once more";
}

// A learner that was fenced while it wrote, and its successor: both end with the whole checkpoint in place, or fail.
TEST_F(CheckpointTest, TwoLearnersAtTheSameStepLeaveAWholeOne) {
  std::vector<std::thread> learners;
  for (const int64_t epoch : {3, 4, 5}) {
    learners.emplace_back([this, epoch] {
      for (int i = 0; i < 20; ++i) {
        const auto path = Write(epoch);
        // Only the last one has nobody to take its folder away.
        EXPECT_TRUE(path.ok() || epoch < 5) << path.status().ToString();
        if (!path.ok()) continue;
        const auto loaded = LoadCheckpoint(*path, CheckpointParts::kAll);
        EXPECT_TRUE(loaded.ok()) << loaded.status().ToString();
      }
    });
  }
  for (std::thread& learner : learners) learner.join();
  ASSERT_TRUE(Write().ok());
  EXPECT_EQ(*ListDirectory(folder_), (std::vector<std::string>{"model", "step-000020"}));
}

TEST_F(CheckpointTest, DamageIsFoundAndTheFileNamed) {
  const std::vector<std::pair<std::string, std::function<void(const std::string&)>>> damages = {
      {"model/model.safetensors",
       [](const std::string& file) {
         std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
         stream.seekg(-5, std::ios::end);
         const char byte = static_cast<char>(stream.get());
         stream.seekp(-5, std::ios::end);
         stream.put(static_cast<char>(byte ^ 1));
       }},
      {"optimizer/first_moment.safetensors", [](const std::string& file) { std::filesystem::resize_file(file, 100); }},
      {"optimizer/second_moment.safetensors", [](const std::string& file) { std::filesystem::remove(file); }},
      {"model/tokenizer.json", [](const std::string& file) { std::ofstream(file, std::ios::app) << " "; }},
      {"state.json", [](const std::string& file) { std::filesystem::resize_file(file, 200); }},
  };
  for (const auto& [name, damage] : damages) {
    const auto path = Write();
    ASSERT_TRUE(path.ok()) << path.status().ToString();
    damage(JoinPath(*path, name));
    const absl::Status status = LoadCheckpoint(*path, CheckpointParts::kAll).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << name << ": " << status.ToString();
    EXPECT_NE(status.ToString().find(name), std::string::npos) << status.ToString();
  }
}

TEST_F(CheckpointTest, AnAlteredStateIsRefused) {
  const auto path = Write();
  ASSERT_TRUE(path.ok());
  const std::string file = JoinPath(*path, "state.json");
  auto text = ReadFile(file);
  ASSERT_TRUE(text.ok());
  text->replace(text->find("\"step\": 20"), 10, "\"step\": 21");
  ASSERT_TRUE(WriteFileAtomic(file, *text).ok());
  EXPECT_TRUE(absl::IsDataLoss(LoadCheckpoint(*path, CheckpointParts::kWeights).status()));
}

TEST_F(CheckpointTest, ForeignFoldersAreRefused) {
  EXPECT_TRUE(absl::IsNotFound(LoadCheckpoint(JoinPath(folder_, "absent"), CheckpointParts::kAll).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(LoadCheckpoint(JoinPath(folder_, "model"), CheckpointParts::kAll).status()));
  const std::string foreign = JoinPath(folder_, "foreign");
  ASSERT_TRUE(CreateDirectories(foreign).ok());
  ASSERT_TRUE(WriteFileAtomic(JoinPath(foreign, "state.json"), "{\"format\": \"other\"}").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(LoadCheckpoint(foreign, CheckpointParts::kAll).status()));
}

TEST_F(CheckpointTest, AFolderThatCannotBeWrittenLeavesNothing) {
  const std::string blocked = JoinPath(folder_, "blocked");
  std::ofstream(blocked) << "a file where the stage's folder should be";
  const absl::Status status =
      WriteCheckpoint({.state = &state_, .config = &config_, .files = &files_, .masters = &masters_}, blocked).status();
  EXPECT_FALSE(status.ok());
}

// tools/weights_hash.py needs nothing but Python and finds the same root hash.
TEST_F(CheckpointTest, TheScriptFindsTheSameRootHash) {
  if (!FileExists("/usr/bin/python3")) GTEST_SKIP() << "no /usr/bin/python3";
  const auto path = Write();
  ASSERT_TRUE(path.ok());
  for (const std::string& argument : {*path, JoinPath(*path, "model"), JoinPath(*path, "model/model.safetensors")}) {
    const std::string output = JoinPath(folder_, "hash.txt");
    RemoveTree(output).IgnoreError();
    auto process = Subprocess::Start(
        {.argv = {"/usr/bin/python3", std::string(HONE_SOURCE_DIR) + "/tools/weights_hash.py", argument},
         .output_path = output});
    ASSERT_TRUE(process.ok()) << process.status().ToString();
    EXPECT_EQ((*process)->Wait(absl::Seconds(60)), 0);
    const auto text = ReadFile(output);
    ASSERT_TRUE(text.ok());
    EXPECT_EQ(*text, state_.root_hash + "\n");
  }
}

}  // namespace
}  // namespace hone::learner
