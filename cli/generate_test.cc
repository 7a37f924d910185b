// `hone generate`, the real program, with a tiny model of random weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "cli/exit_codes.h"
#include "cli/testing/run_hone.h"
#include "model/model.h"
#include "model/test_models.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kModel[] = "cli-generate/model";
constexpr char kSmolLm2Template[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n"
    "' + message['content'] + '<|im_end|>' + '\n"
    "'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n"
    "' }}{% endif %}";

class Generate : public ::testing::Test {
 protected:
  // The small world's model folder, and weights for it.
  static void SetUpTestSuite() {
    ASSERT_TRUE(RemoveTree("cli-generate").ok());
    const Result made =
        Hone("data make small-world --out cli-generate --pretrain_rows 10 --train_rows 20 --test_rows 5");
    ASSERT_EQ(made.exit, kExitOk) << made.err;
    const auto config = model::LoadModelConfig(kModel);
    ASSERT_TRUE(config.ok()) << config.status();
    const model::FlatTensor weights = model::LivelyParameters(*config, 5);
    ASSERT_TRUE(model::SaveParameters(*config, weights, kernels::DType::kF32, kModel).ok());
  }
  static Result Run(const std::string& words) {
    return Hone(absl::StrCat("generate --model ", kModel, " --threads 1 --max_new_tokens 12 ", words));
  }
  static std::vector<nlohmann::json> Rows(const Result& result) {
    EXPECT_EQ(result.exit, kExitOk) << result.err;
    std::vector<nlohmann::json> rows;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
    return rows;
  }
  // "N prompt tokens, ..." of what is said on stderr at the end.
  static int PromptTokens(const Result& result) {
    EXPECT_EQ(result.exit, kExitOk) << result.err;
    return std::stoi(result.err);
  }
};

TEST_F(Generate, OnePromptGivesItsCompletionAlone) {
  const Result one = Run("--prompt '3 + 4 ='");
  EXPECT_EQ(one.exit, kExitOk) << one.err;
  EXPECT_THAT(one.out, Not(HasSubstr("---")));
  EXPECT_THAT(one.err, HasSubstr(" new tokens in "));
  EXPECT_EQ(one.err.find('\r'), std::string::npos) << "carriage returns are for terminals";
  const Result several = Run("--prompt '3 + 4 =' --samples 2");
  EXPECT_THAT(several.out, StartsWith("--- prompt 0, sample 0 ("));
  EXPECT_THAT(several.out, HasSubstr("\n--- prompt 0, sample 1 ("));
  EXPECT_THAT(several.out, HasSubstr("): 3 + 4 =\n"));
}

TEST_F(Generate, EqualSeedsGiveEqualTexts) {
  const std::string words = "--prompt '3 + 4 =' --samples 3 --output json --seed ";
  const Result first = Run(words + "7");
  EXPECT_EQ(first.exit, kExitOk) << first.err;
  EXPECT_EQ(Run(words + "7 --threads 2").out, first.out);
  EXPECT_NE(Run(words + "8").out, first.out);
  const std::vector<nlohmann::json> rows = Rows(first);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_NE(rows[0]["completion"], rows[1]["completion"]);
  // Without temperature chance has no say.
  EXPECT_EQ(Run(words + "7 --temperature 0").out, Run(words + "8 --temperature 0").out);
}

TEST_F(Generate, AFileOfPromptsGivesAJsonLineForEachCompletion) {
  ASSERT_TRUE(WriteFileAtomic("cli-generate/prompts.jsonl",
                              "{\"question\": \"3 + 4 =\"}\n\n{\"question\": \"5 + 1 =\", \"id\": 9}\n")
                  .ok());
  const auto rows =
      Rows(Run("--prompts cli-generate/prompts.jsonl --field question --samples 2 --dtype fp32 --output json"));
  ASSERT_EQ(rows.size(), 4u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["prompt_index"], i / 2);
    EXPECT_EQ(rows[i]["sample_index"], i % 2);
    EXPECT_EQ(rows[i]["prompt"], i < 2 ? "3 + 4 =" : "5 + 1 =");
    EXPECT_LE(rows[i]["tokens"].get<int>(), 12);
    EXPECT_LT(rows[i]["mean_logprob"].get<double>(), 0);
    EXPECT_TRUE(rows[i]["completion"].is_string());
    EXPECT_TRUE(rows[i]["finish_reason"] == "length" || rows[i]["finish_reason"] == "end_of_sequence");
  }
  const Result wrong = Run("--prompts cli-generate/prompts.jsonl");
  EXPECT_EQ(wrong.exit, kExitInvalidInput);
  EXPECT_THAT(wrong.err, HasSubstr("cli-generate/prompts.jsonl:1: expected a string field 'prompt'"));
  ASSERT_TRUE(WriteFileAtomic("cli-generate/bad.jsonl", "{\"prompt\": \"3\"}\n\n{\"prompt\": \"3\"\n").ok());
  EXPECT_THAT(Run("--prompts cli-generate/bad.jsonl").err, HasSubstr("cli-generate/bad.jsonl:3: not JSON"));
  EXPECT_EQ(Run("--prompts cli-generate/absent.jsonl").exit, kExitNotFound);
}

TEST_F(Generate, TheTemplateIsTheOneThatARunTrainedWith) {
  const std::string prompt = "--max_new_tokens 1 --prompt '3 + 4 ='";
  const Result raw = Run(prompt);
  EXPECT_EQ(Run(prompt + " --template raw").out, raw.out);
  EXPECT_GT(PromptTokens(Run(prompt + " --template r1_zero")), PromptTokens(raw) + 20);
  EXPECT_EQ(PromptTokens(Run("--max_new_tokens 1 --prompt '3 + 4' --suffix ' ='")), PromptTokens(raw));
  // The small world has no chat template.
  const Result chat = Run(prompt + " --chat");
  EXPECT_EQ(chat.exit, kExitNotFound);
  EXPECT_THAT(chat.err, HasSubstr("'chat_template'"));
  EXPECT_EQ(Run(prompt + " --template chat").err, chat.err);

  const std::string file = absl::StrCat(kModel, "/chat_template.jinja");
  ASSERT_TRUE(WriteFileAtomic(file, kSmolLm2Template).ok());
  const Result in_chat = Run(prompt + " --chat --system 'add up'");
  EXPECT_GT(PromptTokens(in_chat), PromptTokens(raw));
  EXPECT_EQ(Run(prompt + " --template chat --system 'add up'").out, in_chat.out);
  EXPECT_GT(PromptTokens(Run(prompt + " --chat --system 'add up with care'")), PromptTokens(in_chat));
  ASSERT_TRUE(RemoveTree(file).ok());
}

// Before the model is looked at: there is none.
TEST_F(Generate, BadFlagsAreNamedBeforeAModelIsLoaded) {
  const auto error = [](const std::string& words) {
    const Result result = Hone("generate --model cli-generate/absent --prompt x " + words);
    EXPECT_EQ(result.exit, kExitUsage) << words;
    EXPECT_EQ(result.out, "");
    return result.err;
  };
  EXPECT_EQ(error("--seed -1"), "hone: generate: --seed: expected 0 or more, got -1\n");
  EXPECT_EQ(error("--threads -3"), "hone: generate: --threads: expected 0 (one per core) or more, got -3\n");
  EXPECT_EQ(error("--kv_memory_mib -5"), "hone: generate: --kv_memory_mib: expected 1 or more, got -5\n");
  EXPECT_EQ(error("--dtype fp16"), "hone: generate: --dtype: expected bf16 or fp32, got 'fp16'\n");
  EXPECT_EQ(error("--system be-kind"), "hone: generate: --system: expected --template chat beside it, got none\n");
  EXPECT_EQ(error("--template r1zero"), "hone: generate: --template: expected raw, chat or r1_zero, got 'r1zero'\n");
  EXPECT_EQ(error("--chat --template raw"), "hone: generate: expected --chat or --template raw, not both\n");
  EXPECT_EQ(error("--temperature -1"), "hone: generate: --temperature: expected 0 (greedy) to 10000, got -1\n");
  EXPECT_EQ(error("--top_p 0"), "hone: generate: --top_p: expected a number in (0, 1], got 0\n");
  EXPECT_EQ(error("--min_p 2"), "hone: generate: --min_p: expected a number in [0, 1], got 2\n");
  EXPECT_EQ(error("--top_k -1"), "hone: generate: --top_k: expected 0 (off) or more, got -1\n");
  EXPECT_THAT(error("--samples 0"), HasSubstr("--samples: expected 1 to "));
  EXPECT_EQ(error("--max_new_tokens 0"), "hone: generate: --max_new_tokens: expected 1 or more, got 0\n");
  EXPECT_THAT(error("--min_new_tokens 300"),
              HasSubstr("--min_new_tokens: expected 0 to max_new_tokens = 256, got 300"));
  EXPECT_THAT(error("--stop ''"), HasSubstr("--stop: expected strings that are not empty"));
  EXPECT_THAT(error("--prompts y"), HasSubstr("expected --model DIR, and one of --prompt and --prompts"));
  EXPECT_THAT(error("--output xml"), HasSubstr("--output: expected table or json"));
  const Result absent = Hone("generate --model cli-generate/absent --prompt x");
  EXPECT_EQ(absent.exit, kExitNotFound);
  EXPECT_THAT(absent.err, HasSubstr("cli-generate/absent: no such model folder"));
}

}  // namespace
}  // namespace hone::cli
