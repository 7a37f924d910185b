// What run files may say, and the exact words with which everything else is refused.
#include "coordinator/run_config/yaml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/files.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const auto spec = ParseRunYaml(text, "x.yaml");
  if (spec.ok()) return "accepted: " + spec->ShortDebugString();
  EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(spec.status().message());
}

v1::RunSpec Parse(std::string_view text) {
  auto spec = ParseRunYaml(text, "x.yaml");
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : v1::RunSpec();
}

TEST(YamlReader, ReadsEveryKindOfField) {
  const v1::RunSpec spec = Parse(R"(
name: tiny            # a comment
seed: 18446744073709551615
budget: {max_time: 1h30m}
numerics: {dtype: bf16}
datasets:
  train:
    sources:
      - path: "a b.jsonl"
        weight: 1e-3
        template: r1_zero
        columns: {prompt: question}
      - {path: 'c.jsonl', weight: 2}
stages:
  - name: zero
    rl:
      dataset: train
      steps: 8
      sampling: {stop: [END, "\n\n"], stop_token_ids: [1, 2], temperature: -0.5}
      rewards:
        - accuracy: {match: string}
        - weight: 0
          language:
            words:
              zh: {words: [加, 减]}
        - length: {}
      evaluate: {keep_best: true, at_end: false}
)");
  EXPECT_EQ(spec.name(), "tiny");
  EXPECT_EQ(spec.seed(), 18446744073709551615u);
  EXPECT_EQ(spec.budget().max_time().seconds(), 5400);
  EXPECT_EQ(spec.numerics().dtype(), v1::DTYPE_BF16);
  const v1::DatasetSpec& train = spec.datasets().at("train");
  ASSERT_EQ(train.sources_size(), 2);
  EXPECT_EQ(train.sources(0).path(), "a b.jsonl");
  EXPECT_EQ(train.sources(0).weight(), 0.001);
  EXPECT_EQ(train.sources(0).template_(), v1::PROMPT_TEMPLATE_R1_ZERO);
  EXPECT_EQ(train.sources(0).columns().prompt(), "question");
  EXPECT_EQ(train.sources(1).weight(), 2);
  ASSERT_EQ(spec.stages_size(), 1);
  const v1::RlStage& rl = spec.stages(0).rl();
  EXPECT_EQ(rl.steps(), 8);
  EXPECT_FALSE(rl.has_group_size());
  ASSERT_EQ(rl.sampling().stop_size(), 2);
  EXPECT_EQ(rl.sampling().stop(1), "\n\n");
  EXPECT_EQ(rl.sampling().stop_token_ids(1), 2);
  EXPECT_EQ(rl.sampling().temperature(), -0.5);
  ASSERT_EQ(rl.rewards_size(), 3);
  EXPECT_EQ(rl.rewards(0).accuracy().match(), v1::ANSWER_MATCH_STRING);
  EXPECT_EQ(rl.rewards(1).language().words().at("zh").words(0), "加");
  EXPECT_TRUE(rl.rewards(1).has_weight());
  EXPECT_TRUE(rl.rewards(2).has_length());
  EXPECT_TRUE(rl.evaluate().keep_best());
  EXPECT_FALSE(rl.evaluate().at_end());
}

TEST(YamlReader, AnUnknownFieldNamesPlaceAndNeighbour) {
  EXPECT_EQ(ErrorOf("name: a\nstages:\n  - name: base\n  - name: zero\n    rl:\n      group_szie: 8\n"),
            "x.yaml:6:7: stages[1].rl.group_szie: unknown field; did you mean 'group_size'?");
  EXPECT_EQ(ErrorOf("budget: {wall: 3s}"), "x.yaml:1:10: budget.wall: unknown field; expected one of: max_time");
  EXPECT_EQ(ErrorOf("stages: [{rl: {rewards: [{length: {x: 1}}]}}]"),
            "x.yaml:1:36: stages[0].rl.rewards[0].length.x: unknown field; this takes no fields: write {}");
  EXPECT_THAT(ErrorOf("<<: {name: a}"), HasSubstr("unknown field"));
}

TEST(YamlReader, AnIllTypedValueSaysWhatWasExpected) {
  EXPECT_EQ(ErrorOf("seed: abc"), "x.yaml:1:7: seed: expected an integer, got 'abc'");
  EXPECT_EQ(ErrorOf("seed: -1"), "x.yaml:1:7: seed: expected an integer from 0 to 18446744073709551615, got '-1'");
  EXPECT_EQ(ErrorOf("seed: 18446744073709551616"),
            "x.yaml:1:7: seed: expected an integer from 0 to 18446744073709551615, got '18446744073709551616'");
  EXPECT_EQ(ErrorOf("checkpoints: {keep_last: 2147483648}"),
            "x.yaml:1:26: checkpoints.keep_last: expected an integer from -2147483648 to 2147483647, got '2147483648'");
  EXPECT_EQ(
      ErrorOf("checkpoints: {keep_last: -2147483649}"),
      "x.yaml:1:26: checkpoints.keep_last: expected an integer from -2147483648 to 2147483647, got '-2147483649'");
  for (const char* bad : {"1e3", "010", "0x10", "1_000", "1.0", "2.5", "true", ".inf", "\"8\"", "'8'", "+", "--1"}) {
    EXPECT_THAT(ErrorOf(std::string("checkpoints: {keep_last: ") + bad + "}"), HasSubstr("expected an integer, got"))
        << bad;
  }
  EXPECT_EQ(ErrorOf("seed: \"8\""), "x.yaml:1:7: seed: expected an integer, got quoted text \"8\"");
  EXPECT_EQ(ErrorOf("seed:"), "x.yaml:1:1: seed: expected an integer, got nothing");
  EXPECT_EQ(ErrorOf("name: a\nseed:\n"), "x.yaml:2:1: seed: expected an integer, got nothing");
  EXPECT_EQ(ErrorOf("seed: [1]"), "x.yaml:1:7: seed: expected an integer, got a list");
  EXPECT_EQ(ErrorOf("name: {a: b}"), "x.yaml:1:7: name: expected text, got a mapping");
  EXPECT_EQ(ErrorOf("name: ~"), "x.yaml:1:7: name: expected text (\"\" where empty), got nothing");
  EXPECT_EQ(ErrorOf("model: m"), "x.yaml:1:8: model: expected a mapping, got 'm'");
  EXPECT_EQ(ErrorOf("[1]"), "x.yaml:1:1: expected a mapping, got a list");
  for (const char* bad : {"yes", "True", "1", "on", "\"true\"", "~"}) {
    EXPECT_THAT(ErrorOf(std::string("model: {random_init: ") + bad + "}"),
                HasSubstr("x.yaml:1:22: model.random_init: expected true or false, got"))
        << bad;
  }
}

TEST(YamlReader, NumbersAreStrict) {
  const std::string prefix = "datasets: {d: {sources: [{weight: ";
  for (const char* bad : {".5", "5.", "nan", "inf", ".inf", "-.inf", "1e999", "0x1p3", "1e", "\"1\"", "one"}) {
    EXPECT_THAT(ErrorOf(prefix + bad + "}]}}"), HasSubstr("datasets.d.sources[0].weight: expected a number, got"))
        << bad;
  }
  const auto weight = [&](const std::string& text) {
    return Parse(prefix + text + "}]}}").datasets().at("d").sources(0).weight();
  };
  EXPECT_EQ(weight("1e-3"), 1e-3);
  EXPECT_EQ(weight("+2.5E+1"), 25);
  EXPECT_EQ(weight("7"), 7);
  EXPECT_EQ(weight("-0.25"), -0.25);
}

TEST(YamlReader, EnumsAreLowerCaseWithoutPrefix) {
  EXPECT_EQ(Parse("stages: [{sft: {optimizer: {schedule: linear}}}]").stages(0).sft().optimizer().schedule(),
            v1::LR_SCHEDULE_LINEAR);
  EXPECT_EQ(ErrorOf("numerics: {dtype: bf61}"),
            "x.yaml:1:19: numerics.dtype: expected one of fp32, bf16, got 'bf61'; did you mean 'bf16'?");
  EXPECT_EQ(ErrorOf("numerics: {dtype: DTYPE_BF16}"),
            "x.yaml:1:19: numerics.dtype: expected one of fp32, bf16, got 'DTYPE_BF16'");
  EXPECT_THAT(ErrorOf("numerics: {dtype: unspecified}"), HasSubstr("expected one of fp32, bf16"));
  EXPECT_THAT(ErrorOf("numerics: {dtype: 2}"), HasSubstr("expected one of fp32, bf16"));
}

TEST(YamlReader, DurationsCarryUnits) {
  const auto time = [](const std::string& text) {
    return Parse("budget: {max_time: " + text + "}").budget().max_time();
  };
  EXPECT_EQ(time("30s").seconds(), 30);
  EXPECT_EQ(time("5m").seconds(), 300);
  EXPECT_EQ(time("1h30m").seconds(), 5400);
  EXPECT_EQ(time("250ms").nanos(), 250'000'000);
  EXPECT_EQ(time("1s1500ms").seconds(), 2);
  EXPECT_EQ(time("1s1500ms").nanos(), 500'000'000);
  EXPECT_EQ(time("-2s").seconds(), -2);
  for (const char* bad : {"30", "30 s", "1.5h", "5m1h", "5m5m", "s", "", "3d", "\"30s\"", "-", "999999999999999h"}) {
    EXPECT_THAT(ErrorOf(std::string("budget: {max_time: ") + bad + "}"),
                HasSubstr("budget.max_time: expected a duration such as 30s, 5m, 1h30m or 250ms, got"))
        << bad;
  }
}

TEST(YamlReader, AListIsAListAndAKindIsOne) {
  EXPECT_EQ(ErrorOf("stages: {name: a}"), "x.yaml:1:9: stages: expected a list, got a mapping");
  EXPECT_EQ(ErrorOf("stages: [{rl: {sampling: {stop: END}}}]"),
            "x.yaml:1:33: stages[0].rl.sampling.stop: expected a list, got 'END'");
  EXPECT_EQ(ErrorOf("stages:\n  - name: a\n    rl: {steps: 1}\n    sft: {steps: 1}\n"),
            "x.yaml:4:5: stages[0].sft: only one kind may be given, and 'rl' is already");
  EXPECT_EQ(ErrorOf("datasets: [a]"), "x.yaml:1:11: datasets: expected a mapping, got a list");
}

TEST(YamlReader, DuplicateKeysAreRefused) {
  EXPECT_EQ(ErrorOf("name: a\nseed: 1\nname: b\n"), "x.yaml:3:1: name: stands here twice");
  EXPECT_EQ(ErrorOf("datasets:\n  d: {}\n  d: {}\n"), "x.yaml:3:3: datasets: the key 'd' stands here twice");
}

TEST(YamlReader, BrokenTextNamesTheLine) {
  EXPECT_THAT(ErrorOf("name: [a\nseed: 3\n"), HasSubstr("x.yaml:2:"));
  EXPECT_THAT(ErrorOf("name: \"a\n"), HasSubstr("x.yaml:1:7: the quoted text that begins here is never closed"));
  EXPECT_THAT(ErrorOf("name: a\nmodel: {path: 'b}\nseed: 3\n"), HasSubstr("x.yaml:2:15: the quoted text that begins"));
  EXPECT_EQ(Parse("name: |\n  a\n\n").name(), "a\n");
  EXPECT_EQ(ErrorOf(""), "x.yaml: holds nothing");
  EXPECT_EQ(ErrorOf("# only a comment\n"), "x.yaml: holds nothing");
  EXPECT_EQ(ErrorOf("name: a\n# \xff\n"), "x.yaml:2:1: not valid UTF-8");
  EXPECT_EQ(ErrorOf(std::string("name: a\0b", 9)), "x.yaml: holds a NUL byte: not a text file");
  EXPECT_THAT(ErrorOf("name: a\n---\nname: b\n"), HasSubstr("expected one document, found a second"));
  EXPECT_THAT(ErrorOf("name: !!str a"), HasSubstr("tags are not allowed in a run file"));
  EXPECT_THAT(ErrorOf("name: \"a\\Nb\""), HasSubstr("x.yaml:1:7: the escapes \\N and \\_ are not supported"));
  EXPECT_EQ(Parse("name: \"\\u0085\\x41\"").name(), "\u0085A");
  EXPECT_THAT(ErrorOf("? [a]\n: b\n"), HasSubstr("expected a field's name, got a list"));
}

TEST(YamlReader, AliasesAreCopiedButBounded) {
  const v1::RunSpec spec = Parse(R"(
stages:
  - name: a
    sft: {optimizer: &adam {learning_rate: 0.5}}
  - name: b
    sft: {optimizer: *adam}
)");
  EXPECT_EQ(spec.stages(1).sft().optimizer().learning_rate(), 0.5);
  EXPECT_THAT(ErrorOf("stages: &a [*a]"), HasSubstr("an alias may not stand inside of what it refers to"));
  EXPECT_THAT(ErrorOf("stages: [*nobody]"), HasSubstr("x.yaml:1:"));
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string n = std::to_string(i);
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + n + ": &a" + n + " [";
    for (int k = 0; k < 10; ++k) laughs += (k == 0 ? "" : ", ") + before;
    laughs += "]\n";
  }
  EXPECT_THAT(ErrorOf(laughs), HasSubstr("expected at most 100000 values (aliases expanded)"));
}

TEST(YamlReader, DepthAndSizeAreBounded) {
  std::string deep = "name: ";
  for (int i = 0; i < 70; ++i) deep += "[";
  EXPECT_THAT(ErrorOf(deep), HasSubstr("nested more than 64 levels deep"));
  // Aliases may not build depth either.
  std::string chain = "a0: &a0 [x]\n";
  for (int i = 1; i < 70; ++i) {
    chain += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  }
  EXPECT_THAT(ErrorOf(chain), HasSubstr("nested more than 64 levels deep"));
  EXPECT_THAT(ErrorOf(std::string(kMaxYamlBytes + 1, ' ')), HasSubstr("expected at most 1048576 bytes, got 1048577"));
}

TEST(YamlReader, FilesAreNamedInErrors) {
  EXPECT_EQ(ReadRunFile("absent/run.yaml").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadRunFile("absent/run.yaml").status().message()), HasSubstr("absent/run.yaml"));
  ASSERT_TRUE(WriteFileAtomic("reader_test.yaml", "name: x\nsed: 1\n").ok());
  EXPECT_EQ(std::string(ReadRunFile("reader_test.yaml").status().message()),
            "reader_test.yaml:2:1: sed: unknown field; did you mean 'seed'?");
}

}  // namespace
}  // namespace hone
