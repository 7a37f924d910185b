// The small world's files: the same bytes everywhere, the promised statistics, and no held-out problem where one
// trains. Statistics are taken from the written text by a reader of its own, not from the generator's variables.
#include "corpus/small_world/small_world.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/sha256.h"
#include "corpus/small_world/draw.h"
#include "corpus/small_world/mixture.h"
#include "corpus/small_world/problem.h"
#include "corpus/small_world/vocabulary.h"

namespace hone::corpus {
namespace {

using Json = nlohmann::json;

std::vector<std::string> Split(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// Reads `name` of the seed-0 files, which are written once for all tests.
const std::string& File(const std::string& name) {
  static std::map<std::string, std::string>* files = [] {
    EXPECT_TRUE(WriteSmallWorld({}, "small-world-0").ok());
    return new std::map<std::string, std::string>;
  }();
  auto it = files->find(name);
  if (it == files->end()) {
    auto contents = ReadFile("small-world-0/" + name);
    EXPECT_TRUE(contents.ok()) << contents.status();
    it = files->emplace(name, contents.ok() ? *contents : "").first;
  }
  return it->second;
}

std::vector<Json> Rows(const std::string& name) {
  std::istringstream stream(File(name));
  std::vector<Json> rows;
  for (std::string line; std::getline(stream, line);) rows.push_back(Json::parse(line));
  return rows;
}

bool IsDigit(const std::string& w) { return w.size() == 1 && w[0] >= '0' && w[0] <= '9'; }

// The word's meaning and language, for words of the two languages.
bool FindWord(const std::string& text, Word* word, Language* language) {
  for (int l = 0; l < 2; ++l) {
    for (int w = 0; w < kWordCount; ++w) {
      if (WordText(static_cast<Word>(w), static_cast<Language>(l)) == text) {
        *word = static_cast<Word>(w);
        *language = static_cast<Language>(l);
        return true;
      }
    }
  }
  return false;
}

struct ChainReading {
  int steps = 0;
  int wrong = 0;  // steps whose result is not what the words before it give
  int result = 0;
};

// Reads `d op d is d ...` from `*at` as far as it goes.
ChainReading ReadChain(const std::vector<std::string>& words, size_t* at) {
  ChainReading chain;
  if (*at >= words.size() || !IsDigit(words[*at])) return chain;
  chain.result = words[(*at)++][0] - '0';
  while (*at + 3 < words.size()) {
    Word op, is;
    Language language;
    if (!FindWord(words[*at], &op, &language) || op > Word::kTimes || !IsDigit(words[*at + 1]) ||
        !FindWord(words[*at + 2], &is, &language) || is != Word::kIs || !IsDigit(words[*at + 3])) {
      break;
    }
    const int truth = ApplyOperator(chain.result, op, words[*at + 1][0] - '0');
    chain.result = words[*at + 3][0] - '0';
    ++chain.steps;
    chain.wrong += truth != chain.result;
    *at += 4;
  }
  return chain;
}

struct Rate {
  double hits = 0;
  double trials = 0;
  void Add(bool hit) {
    hits += hit;
    trials += 1;
  }
};

// Five standard errors: a right generator fails one check in millions, and the seed is fixed.
void ExpectRate(const Rate& rate, double p, const char* what) {
  ASSERT_GT(rate.trials, 300) << what;
  const double tolerance = 5 * std::sqrt(p * (1 - p) / rate.trials);
  EXPECT_NEAR(rate.hits / rate.trials, p, tolerance) << what << " over " << rate.trials;
}

TEST(SmallWorld, FilesAreTheSameBytesEverywhere) {
  const std::map<std::string, std::string> expected = {
      {"pretrain.jsonl", "3c6dae872bdf7265c1cb490d1479bf99dc6d78af12288d0d525b5ddc84de86bd"},
      {"train.jsonl", "3ef92b7fa038bfeca59e64d1c18f6706ef926514f3bf2148b225ce1eb51f772e"},
      {"test.jsonl", "cd49b8b5dd3755829de05a4cd1492af20de57c94c10cda41844e0be6932990b5"},
      {"model/config.json", "d21b10ef7bc22b5d456c58ca58fe66e4a881d7388028df880df11daa4ff1d8a7"},
      {"model/tokenizer.json", "8e11b19ab1285df5f34dd12c86425380754ee2e9bad70a3df546e23782e00605"},
  };
  for (const auto& [name, sha] : expected) EXPECT_EQ(Sha256Hex(File(name)), sha) << name;
}

TEST(SmallWorld, SeedsDiffer) {
  SmallWorldOptions options;
  options.seed = 1;
  options.pretrain_rows = 100;
  options.train_rows = 100;
  options.test_rows = 100;
  ASSERT_TRUE(WriteSmallWorld(options, "small-world-1").ok());
  for (const std::string name : {"pretrain.jsonl", "train.jsonl", "test.jsonl"}) {
    const std::string other = *ReadFile("small-world-1/" + name);
    EXPECT_NE(other, File(name).substr(0, other.size())) << name;
  }
  EXPECT_EQ(*ReadFile("small-world-1/model/tokenizer.json"), File("model/tokenizer.json"));
}

TEST(SmallWorld, HeldOutProblemsStandInTheTestSetAlone) {
  const auto text = [](const Json& row) {  // the problem without its language word
    const std::string prompt = row.at("prompt");
    return prompt.substr(prompt.find(' ') + 1);
  };
  std::set<std::string> test, train;
  for (const Json& row : Rows("test.jsonl")) {
    EXPECT_TRUE(IsHeldOut(text(row)));
    EXPECT_TRUE(test.insert(text(row)).second) << "twice: " << text(row);
  }
  EXPECT_EQ(test.size(), 1000u);
  for (const Json& row : Rows("train.jsonl")) {
    EXPECT_FALSE(test.contains(text(row)));
    EXPECT_TRUE(train.insert(text(row)).second) << "twice: " << text(row);
  }
  EXPECT_EQ(train.size(), 8000u);
  int prompts = 0;
  for (const Json& row : Rows("pretrain.jsonl")) {
    if (!row.contains("prompt")) continue;
    ++prompts;
    EXPECT_FALSE(test.contains(text(row)));
    if (!text(row).starts_with("greet")) {
      EXPECT_FALSE(IsHeldOut(text(row))) << text(row);
    }
  }
  EXPECT_GT(prompts, 30'000);
  // Raw chains are problems without a prompt: they are not held out either.
  for (const Json& row : Rows("pretrain.jsonl")) {
    if (!row.contains("text")) continue;
    const std::vector<std::string> words = Split(row.at("text"));
    Problem problem;
    problem.digits.push_back(words[0][0] - '0');
    for (size_t i = 1; i + 3 < words.size(); i += 4) {
      Word op;
      Language language;
      ASSERT_TRUE(FindWord(words[i], &op, &language));
      problem.operators.push_back(op);
      problem.digits.push_back(words[i + 1][0] - '0');
    }
    EXPECT_FALSE(test.contains(ProblemText(problem)));
  }
}

TEST(SmallWorld, AnswersAreRightAndLanguagesEven) {
  Rate english;
  std::map<size_t, int> lengths;
  for (const std::string name : {"train.jsonl", "test.jsonl"}) {
    for (const Json& row : Rows(name)) {
      const std::vector<std::string> words = Split(row.at("prompt"));
      ASSERT_EQ(words.back(), "=");
      int value = words[1][0] - '0';
      for (size_t i = 2; i + 1 < words.size(); i += 2) {
        const int digit = words[i + 1][0] - '0';
        value = words[i] == "+"   ? (value + digit) % 10
                : words[i] == "-" ? (value - digit + 10) % 10
                                  : value * digit % 10;
      }
      EXPECT_EQ(row.at("answer"), std::to_string(value)) << row.at("prompt");
      EXPECT_EQ(words[0], "<" + row.at("language").get<std::string>() + ">");
      english.Add(words[0] == "<en>");
      ++lengths[(words.size() - 3) / 2];
    }
  }
  ExpectRate(english, 0.5, "English problems");
  EXPECT_EQ(lengths.size(), 5u) << "2 to 6 steps";
  EXPECT_EQ(lengths.begin()->first, 2u);
}

TEST(SmallWorld, EveryWordHasAToken) {
  const Json tokenizer = Json::parse(File("model/tokenizer.json"));
  const Json& vocabulary = tokenizer.at("model").at("vocab");
  EXPECT_EQ(vocabulary.size(), 54u);
  EXPECT_EQ(SmallWorldVocabulary().size(), 54u);
  EXPECT_EQ(vocabulary.at("<eos>"), 1);
  EXPECT_EQ(Json::parse(File("model/config.json")).at("vocab_size"), 54);
  std::set<int> ids;
  for (const auto& [word, id] : vocabulary.items()) EXPECT_TRUE(ids.insert(id.get<int>()).second) << word;
  EXPECT_EQ(*ids.rbegin(), 53);
  for (const std::string name : {"pretrain.jsonl", "train.jsonl", "test.jsonl"}) {
    for (const Json& row : Rows(name)) {
      for (const char* key : {"prompt", "completion", "text"}) {
        if (!row.contains(key)) continue;
        for (const std::string& word : Split(row.at(key))) ASSERT_TRUE(vocabulary.contains(word)) << word;
      }
    }
  }
}

// Parses each row of the mixture from its text and counts.
TEST(SmallWorld, TheMixtureHasThePromisedStatistics) {
  Rate raw, general, full, tagless, shorts, direct;                     // shares
  Rate raw_error, one_pass_error, first_pass_error, second_pass_error;  // wrong steps
  Rate wait, unclosed, short_right, direct_right, junk, general_junk;   // habits
  Rate answer_follows, pure_full;
  for (uint64_t i = 0; i < 48'000; ++i) {
    const MixtureRow row = MakeMixtureRow(0, i);
    const std::vector<std::string> words = Split(row.text);
    const std::vector<std::string> prompt = Split(row.prompt);
    raw.Add(prompt.empty());
    if (prompt.empty()) {
      size_t at = 0;
      const ChainReading chain = ReadChain(words, &at);
      ASSERT_EQ(at, words.size()) << row.text;
      for (int s = 0; s < chain.steps; ++s) raw_error.Add(s < chain.wrong);
      continue;
    }
    const bool reasoning = IsDigit(prompt[1]);
    general.Add(!reasoning);
    if (!reasoning) continue;
    int truth = prompt[1][0] - '0';
    for (size_t k = 2; k + 1 < prompt.size(); k += 2) {
      const Word op = prompt[k] == "+" ? Word::kPlus : prompt[k] == "-" ? Word::kMinus : Word::kTimes;
      truth = ApplyOperator(truth, op, prompt[k + 1][0] - '0');
    }
    // The row's form, read from its words.
    size_t at = words[0] == "<think>" ? 1 : 0;
    size_t chain_at = at;
    const ChainReading chain = ReadChain(words, &chain_at);
    Word word;
    Language language;
    const bool is_short = at == 1 && FindWord(words[at], &word, &language) && word == Word::kSo;
    // Problems have two steps at least; one may come about by junk after a direct answer.
    const bool has_chain = chain.steps > 1;
    const bool is_direct = !has_chain && !is_short;
    bool closed = false;
    for (const std::string& w : words) closed = closed || w == "</think>";
    full.Add(has_chain && closed);
    tagless.Add(has_chain && !closed);
    shorts.Add(is_short);
    direct.Add(is_direct);
    if (is_short) short_right.Add(words[2] == std::to_string(truth));
    if (is_direct) direct_right.Add(words[0] == std::to_string(truth));
    if (is_short) junk.Add(words.size() > 7);
    if (!has_chain) continue;
    if (!closed) unclosed.Add(at == 1);
    const bool waits = chain_at < words.size() && FindWord(words[chain_at], &word, &language) && word == Word::kWait;
    wait.Add(waits);
    if (!waits) {
      for (int s = 0; s < chain.steps; ++s) one_pass_error.Add(s < chain.wrong);
    } else {
      for (int s = 0; s < chain.steps; ++s) first_pass_error.Add(s < chain.wrong);
      ++chain_at;
      const ChainReading second = ReadChain(words, &chain_at);
      EXPECT_EQ(second.steps, chain.steps) << row.text;
      for (int s = 0; s < second.steps; ++s) second_pass_error.Add(s < second.wrong);
    }
    if (closed) {
      ASSERT_EQ(words[chain_at], "</think>") << row.text;
      answer_follows.Add(words[chain_at + 1] == "<answer>" && IsDigit(words[chain_at + 2]));
      std::set<Language> spoken;
      for (size_t k = 1; k < chain_at; ++k) {
        if (FindWord(words[k], &word, &language)) spoken.insert(language);
      }
      pure_full.Add(spoken.size() == 1);
    }
  }
  for (uint64_t i = 0; i < 48'000; ++i) {
    const MixtureRow row = MakeMixtureRow(0, i);
    const std::vector<std::string> prompt = Split(row.prompt);
    // Copies of 3 to 5 letters, with or without a courtesy word: anything longer is junk.
    if (row.kind != RowKind::kGeneral || prompt[1] == "greet") continue;
    const std::vector<std::string> words = Split(row.text);
    const size_t content = prompt.size() - 3;
    Word word;
    Language language;
    const bool courtesy = words.size() > content && FindWord(words[content], &word, &language) && word == Word::kThanks;
    if (!courtesy) general_junk.Add(words.size() > content);
  }
  ExpectRate(raw, 0.25, "raw text");
  ExpectRate(general, 0.20 / 0.75, "general among prompted rows");
  ExpectRate(full, 0.20, "full");
  ExpectRate(tagless, 0.16, "tag-less");
  ExpectRate(shorts, 0.42, "short");
  ExpectRate(direct, 0.22, "direct");
  // A replaced result is right by chance in one case of ten.
  ExpectRate(raw_error, 0.03 * 0.9, "wrong steps in raw text");
  ExpectRate(one_pass_error, 0.05 * 0.9, "wrong steps in one pass");
  ExpectRate(first_pass_error, 0.20 * 0.9, "wrong steps in the first of two passes");
  ExpectRate(second_pass_error, 0.02 * 0.9, "wrong steps in the second pass");
  ExpectRate(wait, 0.25, "second passes");
  ExpectRate(unclosed, 0.5, "<think> never closed, of the tag-less");
  ExpectRate(short_right, 1 - 0.1 * 0.9, "right short answers");
  ExpectRate(direct_right, 1 - 0.1 * 0.9, "right direct answers");
  ExpectRate(junk, 0.25, "junk");
  // Without a courtesy word: 0.30, but junk that begins with thanks (2 of 34 words) was taken for courtesy.
  ExpectRate(general_junk, 0.30 * (1 - 2.0 / 34) / (1 - 0.30 * 2.0 / 34), "junk after general content");
  ExpectRate(answer_follows, 1 - 1e-9, "an answer block after each full trace");
  EXPECT_GT(pure_full.hits / pure_full.trials, 0.45);
  EXPECT_LT(pure_full.hits / pure_full.trials, 0.60);
}

TEST(SmallWorld, TruthOfKnownProblems) {
  Problem problem;
  problem.language = Language::kChinese;
  problem.digits = {3, 4, 2};
  problem.operators = {Word::kPlus, Word::kTimes};
  EXPECT_EQ(PromptText(problem), "<zh> 3 + 4 * 2 =");
  EXPECT_EQ(Solve(problem), 4);
  EXPECT_EQ(ApplyOperator(2, Word::kMinus, 5), 7);
  // zlib.crc32(b"3 + 4 * 2 =") % 8, and of a text where it is 0, by Python's zlib.
  EXPECT_EQ(IsHeldOut("3 + 4 * 2 ="), true);
  EXPECT_EQ(IsHeldOut("0 + 2 - 7 ="), true);
}

TEST(SmallWorld, DrawsAreUniform) {
  std::vector<int> counts(10);
  Draw draw(7, "uniform", 0);
  for (int i = 0; i < 100'000; ++i) ++counts[draw.Below(10)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
  Draw again(7, "uniform", 0), other(7, "uniform", 1), stream(7, "uniforn", 0), seed(8, "uniform", 0);
  const uint64_t first = again.Next();
  EXPECT_EQ(first, Draw(7, "uniform", 0).Next());
  EXPECT_NE(first, other.Next());
  EXPECT_NE(first, stream.Next());
  EXPECT_NE(first, seed.Next());
}

TEST(SmallWorld, ImpossibleSizesAreRefused) {
  SmallWorldOptions options;
  options.test_rows = kMaxSmallWorldProblems + 1;
  EXPECT_EQ(WriteSmallWorld(options, "small-world-x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(DirectoryExists("small-world-x"));
}

}  // namespace
}  // namespace hone::corpus
