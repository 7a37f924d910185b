#include "learner/dataset.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "base/files.h"
#include "hone/v1/run.pb.h"
#include "learner/testing/tiny_world.h"

namespace hone::learner {
namespace {

class DatasetTest : public testing::Test {
 protected:
  DatasetTest() {
    folder_ = FreshFolder("dataset");
    WriteTinyModel(folder_);
    auto tokenizer = model::Tokenizer::FromDirectory(folder_);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
    tokenizer_ = *std::move(tokenizer);
    context_ = {.kernels = kernels_.get(),
                .tokenizer = tokenizer_.get(),
                .eos_id = 1,
                .vocab_size = kTinyVocab,
                .max_positions = 64};
    path_ = JoinPath(folder_, "rows.jsonl");
    dataset_.add_sources()->set_path(path_);
  }

  absl::StatusOr<SupervisedData> Load(const std::string& contents) {
    std::ofstream(path_, std::ios::binary) << contents;
    return LoadSupervisedData(dataset_, stage_, context_);
  }
  // The error's message has to name `where` and contain `what`.
  void ExpectError(const std::string& contents, const std::string& where, const std::string& what) {
    const absl::Status status = Load(contents).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status.ToString();
    EXPECT_NE(status.ToString().find(path_ + where), std::string::npos) << status.ToString();
    EXPECT_NE(status.ToString().find(what), std::string::npos) << status.ToString();
  }

  std::string folder_, path_;
  std::unique_ptr<kernels::KernelContext> kernels_ = kernels::KernelContext::Create(2);
  std::unique_ptr<model::Tokenizer> tokenizer_;
  RowContext context_;
  v1::DatasetSpec dataset_;
  v1::SftStage stage_;
};

TEST_F(DatasetTest, LossIsOnTheCompletionAndItsEnd) {
  const auto data =
      Load("{\"prompt\": \"w2 w3\", \"completion\": \"w4\"}\n\n{\"prompt\": \"w5\", \"completion\": \"w6 <eos>\"}");
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  ASSERT_EQ(data->row_count(), 2);
  const TrainingSequence first = MakeSequence(data->sources[0].rows[0]);
  EXPECT_EQ(first.tokens, (std::vector<int32_t>{2, 3, 4, 1}));
  EXPECT_EQ(first.targets, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(data->sources[0].rows[1].tokens, (std::vector<int32_t>{5, 6, 1}));  // the end is not doubled
}

TEST_F(DatasetTest, TextRowsAreTrainedOnWhole) {
  stage_.set_append_eos(false);
  const auto data = Load("{\"text\": \"w2 w3 w4\"}\n");
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  EXPECT_EQ(MakeSequence(data->sources[0].rows[0]).targets, (std::vector<int32_t>{1, 2}));
}

// As a rollout's prompt begins: both sides take it from model/tokenizer/prompt_frame.h.
TEST_F(DatasetTest, RowsBeginWithTheTokenizersPrefixAndAreNotTrainedOnIt) {
  std::string file = ReadFile(JoinPath(folder_, "tokenizer.json")).value();
  const std::string none = "\"post_processor\": null";
  file.replace(file.find(none), none.size(), R"("post_processor": {"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "w39"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"w39": {"ids": [39]}}})");
  tokenizer_ = model::Tokenizer::FromJson(file, "").value();
  context_.tokenizer = tokenizer_.get();
  const std::string rows =
      "{\"prompt\": \"w2 w3\", \"completion\": \"w4\"}\n{\"text\": \"w5 w6\"}\n{\"text\": \"w39 w5 w6\"}\n";
  const auto data = Load(rows);
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  const std::vector<SupervisedRow>& read = data->sources[0].rows;
  EXPECT_EQ(read[0].tokens, (std::vector<int32_t>{39, 2, 3, 4, 1}));
  EXPECT_EQ(read[0].loss_begin, 3);
  EXPECT_EQ(read[1].tokens, (std::vector<int32_t>{39, 5, 6, 1}));
  EXPECT_EQ(read[1].loss_begin, 1);
  EXPECT_EQ(read[2].tokens, read[1].tokens) << "not doubled";

  stage_.set_overlong(v1::OVERLONG_POLICY_TRUNCATE_LEFT);
  stage_.set_max_tokens(3);
  const auto cut = Load(rows);
  ASSERT_TRUE(cut.ok()) << cut.status().ToString();
  EXPECT_EQ(cut->sources[0].rows[0].tokens, (std::vector<int32_t>{39, 4, 1}));
  EXPECT_EQ(cut->sources[0].rows[0].loss_begin, 1);
  EXPECT_EQ(cut->sources[0].rows[1].tokens, (std::vector<int32_t>{39, 6, 1}));
  ExpectError("{\"text\": \"\"}\n", ":1", "no token to train on");
}

TEST_F(DatasetTest, ColumnsSuffixAndMaxRowsAreMapped) {
  v1::SourceSpec& source = *dataset_.mutable_sources(0);
  source.mutable_columns()->set_prompt("question");
  source.mutable_columns()->set_completion("solution");
  source.set_prompt_suffix(" w9");
  source.set_max_rows(1);
  const auto data = Load("{\"question\": \"w2\", \"solution\": \"w3\"}\nnot read\n");
  ASSERT_TRUE(data.ok()) << data.status().ToString();
  EXPECT_EQ(data->sources[0].rows[0].tokens, (std::vector<int32_t>{2, 9, 3, 1}));
}

TEST_F(DatasetTest, OverlongPolicies) {
  const std::string rows =
      "{\"prompt\": \"w2 w3 w4\", \"completion\": \"w5\"}\n{\"prompt\": \"w6\", \"completion\": \"w7\"}\n";
  stage_.set_max_tokens(3);
  const auto dropped = Load(rows);
  ASSERT_TRUE(dropped.ok()) << dropped.status().ToString();
  EXPECT_EQ(dropped->sources[0].dropped, 1);
  EXPECT_EQ(dropped->row_count(), 1);
  stage_.set_overlong(v1::OVERLONG_POLICY_TRUNCATE_LEFT);
  const auto cut = Load(rows);
  ASSERT_TRUE(cut.ok()) << cut.status().ToString();
  EXPECT_EQ(cut->sources[0].rows[0].tokens, (std::vector<int32_t>{4, 5, 1}));
  EXPECT_EQ(cut->sources[0].rows[0].loss_begin, 1);
  EXPECT_EQ(cut->sources[0].truncated, 1);
  stage_.set_overlong(v1::OVERLONG_POLICY_FAIL);
  ExpectError(rows, ":1", "5 tokens, more than the limit of 3");
  stage_.set_overlong(v1::OVERLONG_POLICY_DROP);
  stage_.set_max_tokens(1);
  ExpectError(rows, "", "all 2 rows exceed the limit of 1");
}

TEST_F(DatasetTest, BadInputIsNamedByFileAndLine) {
  const std::string good = "{\"prompt\": \"w2\", \"completion\": \"w3\"}\n";
  ExpectError("", "", "got no rows");
  ExpectError(" \n\n", "", "got no rows");
  ExpectError(good + "\n{\"prompt\": ", ":3", "not JSON");
  ExpectError(good + "{\"prompt\": \"w2\", \"prompt\": \"w3\", \"completion\": \"w3\"}", ":2",
              "key 'prompt' appears twice");
  ExpectError(good + "[1]", ":2", "expected a JSON object");
  ExpectError(good + "{\"prompt\": \"w2\"}", ":2", "expected a key 'completion', got the keys [prompt]");
  ExpectError("{\"other\": 1}", ":1", "expected a key 'prompt', got the keys [other]");
  ExpectError(good + "{\"prompt\": \"w2\", \"completion\": 7}", ":2", "'completion': expected a string, got number");
  ExpectError(good + "{\"prompt\": \"w2 \xff\", \"completion\": \"w3\"}", ":2", "UTF-8");
  stage_.set_append_eos(false);
  ExpectError(good + "{\"prompt\": \"w2\", \"completion\": \"\"}", ":2", "no token to train on");
}

TEST_F(DatasetTest, AbsentFileTemplateAndEndTokenAreErrors) {
  std::ofstream(path_) << "{\"prompt\": \"w2\", \"completion\": \"w3\"}\n";
  RowContext no_eos = context_;
  no_eos.eos_id = -1;
  EXPECT_EQ(LoadSupervisedData(dataset_, stage_, no_eos).status().code(), absl::StatusCode::kInvalidArgument);
  RowContext small = context_;
  small.vocab_size = 3;
  EXPECT_EQ(LoadSupervisedData(dataset_, stage_, small).status().code(), absl::StatusCode::kInvalidArgument);
  dataset_.mutable_sources(0)->set_template_(v1::PROMPT_TEMPLATE_CHAT);
  EXPECT_FALSE(LoadSupervisedData(dataset_, stage_, context_).ok());
  RowContext chat = context_;
  chat.chat_template_jinja =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
      "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  EXPECT_TRUE(LoadSupervisedData(dataset_, stage_, chat).ok());
  dataset_.mutable_sources(0)->clear_template_();
  dataset_.mutable_sources(0)->set_path(path_ + ".absent");
  EXPECT_EQ(LoadSupervisedData(dataset_, stage_, context_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hone::learner
