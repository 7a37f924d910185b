#include "learner/prompt_room.h"

#include <gtest/gtest.h>

#include "hone/v1/run.pb.h"

namespace hone::learner {
namespace {

v1::StageSpec* AddStage(v1::RunSpec* spec, const std::string& name, const std::string& from) {
  v1::StageSpec* stage = spec->add_stages();
  stage->set_name(name);
  if (!from.empty()) stage->set_from(from);
  return stage;
}

// base, then zero and final after it; other stands alone.
v1::RunSpec Spec() {
  v1::RunSpec spec;
  AddStage(&spec, "base", "")->mutable_pretrain();
  v1::RlStage* rl = AddStage(&spec, "zero", "base")->mutable_rl();
  rl->mutable_sampling()->set_max_new_tokens(10);
  rl->mutable_evaluate()->mutable_evaluation()->mutable_sampling()->set_max_new_tokens(20);
  AddStage(&spec, "out", "zero")->mutable_export_();
  v1::StageSpec* final = AddStage(&spec, "final", "zero");
  final->mutable_evaluate()->mutable_evaluation()->mutable_sampling()->set_max_new_tokens(30);
  AddStage(&spec, "other", "")->mutable_rl()->mutable_sampling()->set_max_new_tokens(1000);
  return spec;
}

std::string Word(const absl::Status& status) {
  const std::string text(status.message());
  return text.substr(0, text.find(", for"));
}

TEST(PromptRoomTest, APromptNeedsOneTokenAtLeast) {
  const v1::RunSpec spec = Spec();
  EXPECT_TRUE(CheckPromptRoom(spec, 1, 21).ok());
  EXPECT_EQ(
      CheckPromptRoom(spec, 1, 20).message(),
      "stages[1].rl.evaluate.evaluation.sampling.max_new_tokens: expected at most 19, for the model's context has "
      "20 tokens and a prompt needs room in it, got 20");
  EXPECT_EQ(Word(CheckPromptRoom(spec, 1, 10)), "stages[1].rl.sampling.max_new_tokens: expected at most 9");
  EXPECT_EQ(Word(CheckPromptRoom(spec, 3, 30)),
            "stages[3].evaluate.evaluation.sampling.max_new_tokens: expected at most 29");
  EXPECT_TRUE(CheckPromptRoom(spec, 0, 2).ok());
  EXPECT_TRUE(CheckPromptRoom(spec, 2, 2).ok());
}

TEST(PromptRoomTest, LaterStagesOfTheSameModelAreCheckedWithTheFirst) {
  const v1::RunSpec spec = Spec();
  EXPECT_TRUE(CheckPromptRoomFrom(spec, 0, 31).ok()) << "the other model's stage is none of it";
  EXPECT_EQ(Word(CheckPromptRoomFrom(spec, 0, 30)),
            "stages[3].evaluate.evaluation.sampling.max_new_tokens: expected at most 29");
  EXPECT_FALSE(CheckPromptRoomFrom(spec, 4, 1000).ok());
}

TEST(PromptRoomTest, PeriodicEvaluationsOfSupervisedStagesCount) {
  v1::RunSpec spec;
  for (v1::SftStage* sft : {AddStage(&spec, "a", "")->mutable_pretrain(), AddStage(&spec, "b", "a")->mutable_sft()}) {
    sft->mutable_evaluate()->mutable_evaluation()->mutable_sampling()->set_max_new_tokens(8);
  }
  EXPECT_EQ(Word(CheckPromptRoom(spec, 0, 8)),
            "stages[0].pretrain.evaluate.evaluation.sampling.max_new_tokens: expected at most 7");
  EXPECT_EQ(Word(CheckPromptRoom(spec, 1, 8)),
            "stages[1].sft.evaluate.evaluation.sampling.max_new_tokens: expected at most 7");
}

}  // namespace
}  // namespace hone::learner
