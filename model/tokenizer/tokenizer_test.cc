#include "model/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "model/tokenizer/unicode.h"

namespace hone::model {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json AddedToken(int id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// Byte-level BPE: ids 0-255 are the bytes, then a few merges and added tokens.
json ByteLevelJson() {
  json vocab = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    AppendUtf8(ByteAlphabet()[byte], &piece);
    vocab[piece] = byte;
  }
  vocab["he"] = 256;
  vocab["ll"] = 257;
  vocab["hell"] = 258;
  vocab["Ġw"] = 259;
  vocab["Ã©"] = 260;
  const json merges = {"h e", "l l", {"he", "ll"}, "Ġ w", {"Ã", "©"}};
  return {{"added_tokens", {AddedToken(261, "<eos>", true), AddedToken(262, "<think>", false)}},
          {"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

json WordLevelJson() {
  return {{"added_tokens", {AddedToken(1, "<eos>", true)}},
          {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
          {"model",
           {{"type", "WordLevel"},
            {"unk_token", "<unk>"},
            {"vocab", {{"<unk>", 0}, {"<eos>", 1}, {"<think>", 2}, {"7", 3}, {"加", 4}, {"plus", 5}, {"=", 6}}}}}};
}

std::unique_ptr<Tokenizer> Make(const json& tokenizer, const std::string& config = "") {
  auto result = Tokenizer::FromJson(tokenizer.dump(), config);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : nullptr;
}

std::string ErrorOf(const json& tokenizer, const std::string& config = "") {
  const auto result = Tokenizer::FromJson(tokenizer.dump(), config);
  if (result.ok()) return "(accepted)";
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(result.status().message());
}

TEST(TokenizerTest, MergesByRank) {
  const auto tokenizer = Make(ByteLevelJson());
  EXPECT_THAT(tokenizer->Encode("hello w"), ElementsAre(258, 'o', 259));
  EXPECT_THAT(tokenizer->Encode("hel"), ElementsAre(256, 'l'));
  EXPECT_THAT(tokenizer->Encode("e\xCC\x81"), ElementsAre(260)) << "normalized first";
  EXPECT_THAT(tokenizer->Encode(""), ElementsAre());
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("hello w\né 漢\xF0\x9F\x98\x80")), "hello w\né 漢\xF0\x9F\x98\x80");
  EXPECT_EQ(tokenizer->vocab_size(), 263);
  EXPECT_EQ(tokenizer->FindToken("Ġw"), 259);
  EXPECT_EQ(tokenizer->FindToken("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->TokenBytes(259), " w");
  EXPECT_EQ(tokenizer->TokenPiece(259), "Ġw");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  EXPECT_EQ(tokenizer->TokenBytes(263), "");
}

json SpecialToken(const std::string& name) { return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; }
json Sequence(const std::string& name) { return {{"Sequence", {{"id", name}, {"type_id", 0}}}}; }

json TemplateProcessing(const std::vector<json>& single, const json& ids) {
  json special_tokens = json::object();
  for (const auto& [name, list] : ids.items()) special_tokens[name] = {{"id", name}, {"ids", list}, {"tokens", {name}}};
  return {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", json::array()}, {"special_tokens", special_tokens}};
}

TEST(TokenizerTest, ThePostProcessorSaysWhatSurroundsAText) {
  json file = ByteLevelJson();
  const auto added = [&](const json& post_processor) {
    file["post_processor"] = post_processor;
    const auto tokenizer = Make(file);
    EXPECT_THAT(tokenizer->Encode("he"), ElementsAre(256)) << "Encode adds nothing";
    return std::pair(tokenizer->prefix(), tokenizer->suffix());
  };
  using Ids = std::vector<int32_t>;
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  const json both = TemplateProcessing({SpecialToken("<eos>"), Sequence("A"), SpecialToken("two")},
                                       {{"<eos>", {261}}, {"two", {262, 0}}});
  EXPECT_EQ(added(nullptr), std::pair(Ids(), Ids()));
  EXPECT_EQ(added(byte_level), std::pair(Ids(), Ids()));
  EXPECT_EQ(added(TemplateProcessing({Sequence("A")}, json::object())), std::pair(Ids(), Ids()));
  EXPECT_EQ(added(both), std::pair(Ids{261}, (Ids{262, 0})));
  EXPECT_EQ(added({{"type", "Sequence"}, {"processors", {byte_level, both}}}), std::pair(Ids{261}, (Ids{262, 0})));
  file.erase("post_processor");
  EXPECT_TRUE(Make(file)->prefix().empty());
}

TEST(TokenizerTest, APostProcessorThatIsNotUnderstoodIsNamed) {
  json file = ByteLevelJson();
  const auto error = [&](const json& post_processor) {
    file["post_processor"] = post_processor;
    return ErrorOf(file);
  };
  const json eos = {{"<eos>", {261}}};
  const json good = TemplateProcessing({SpecialToken("<eos>"), Sequence("A")}, eos);
  EXPECT_THAT(error({{"type", "RobertaProcessing"}, {"sep", {"</s>", 2}}}), HasSubstr("'RobertaProcessing'"));
  EXPECT_THAT(error({{"type", "Sequence"}, {"processors", {{{"type", "BertProcessing"}}}}}),
              HasSubstr("'BertProcessing'"));
  EXPECT_THAT(error({{"type", "Sequence"}}), HasSubstr("'Sequence'"));
  EXPECT_THAT(error("ByteLevel"), HasSubstr("type ''"));
  EXPECT_THAT(error({{"type", "Sequence"}, {"processors", {good, good}}}), HasSubstr("two templates"));
  EXPECT_THAT(error({{"type", "TemplateProcessing"}}), HasSubstr("'single'"));
  EXPECT_THAT(error(TemplateProcessing({SpecialToken("<eos>")}, eos)), HasSubstr("the sequence A once"));
  EXPECT_THAT(error(TemplateProcessing({Sequence("A"), Sequence("A")}, eos)), HasSubstr("the sequence A once"));
  EXPECT_THAT(error(TemplateProcessing({Sequence("B")}, eos)), HasSubstr("the sequence A once"));
  EXPECT_THAT(error(TemplateProcessing({json("$A")}, eos)), HasSubstr("neither"));
  EXPECT_THAT(error(TemplateProcessing({SpecialToken("<bos>"), Sequence("A")}, eos)), HasSubstr("'<bos>'"));
  EXPECT_THAT(error(TemplateProcessing({SpecialToken("<eos>"), Sequence("A")}, {{"<eos>", {-1}}})),
              HasSubstr("whole numbers"));
  EXPECT_THAT(error(TemplateProcessing({SpecialToken("<eos>"), Sequence("A")}, {{"<eos>", {9999}}})),
              HasSubstr("9999"));
  EXPECT_THAT(error(TemplateProcessing({SpecialToken("<eos>"), Sequence("A")}, {{"<eos>", std::vector<int>(65, 1)}})),
              HasSubstr("more than 64"));
}

// Tables reach up to the highest id: a short file must not ask for much memory.
TEST(TokenizerTest, IdsAreLimitedByTheFilesLength) {
  json file = WordLevelJson();
  file["model"]["vocab"]["far"] = 200'000;
  EXPECT_EQ(Make(file)->vocab_size(), 200'001);
  file["model"]["vocab"]["far"] = 16'000'000;
  EXPECT_THAT(ErrorOf(file), HasSubstr("id 16000000 is over the limit 262144"));
  file["model"]["vocab"].erase("far");
  file["added_tokens"].push_back(AddedToken(16'000'000, "<far>", true));
  EXPECT_THAT(ErrorOf(file), HasSubstr("from 0 to 262144"));
}

// A word beyond the short one's limit goes another way and must come out the same.
TEST(TokenizerTest, LongWordsMergeAsShortOnesDo) {
  const auto tokenizer = Make(ByteLevelJson());
  for (const size_t count : {15, 16, 17, 500}) {
    std::string text;
    std::vector<int32_t> expected;
    for (size_t i = 0; i < count; ++i) {
      text += "hellhel";
      expected.insert(expected.end(), {258, 256, 'l'});
    }
    EXPECT_EQ(tokenizer->Encode(text), expected) << count;
  }
}

TEST(TokenizerTest, SpecialTokensAreParsedOrNot) {
  const auto tokenizer = Make(ByteLevelJson());
  EXPECT_THAT(tokenizer->Encode("<think>he<eos>"), ElementsAre(262, 256, 261));
  EXPECT_THAT(tokenizer->Encode("<think>he<eos>", false), ElementsAre(262, 256, '<', 'e', 'o', 's', '>'))
      << "a token that is added but not special is one in either case";
  EXPECT_TRUE(tokenizer->IsSpecial(261));
  EXPECT_FALSE(tokenizer->IsSpecial(262));
  const std::vector<int32_t> ids = {256, 261, 262, 99999, -1};
  EXPECT_EQ(tokenizer->Decode(ids), "he<eos><think>");
  EXPECT_EQ(tokenizer->Decode(ids, true), "he<think>");
}

TEST(TokenizerTest, TextThatIsNotUtf8) {
  const auto tokenizer = Make(ByteLevelJson());
  EXPECT_EQ(tokenizer->Encode("a\xff\xc3"), tokenizer->Encode("a\xef\xbf\xbd\xef\xbf\xbd"));
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{0xe6, 0xbc, 'a'}),
            "\xef\xbf\xbd"
            "a");
}

TEST(TokenizerTest, NamedTokens) {
  const auto tokenizer =
      Make(ByteLevelJson(), R"({"eos_token": "<eos>", "pad_token": {"content": "<eos>"}, "bos_token": null})");
  EXPECT_EQ(tokenizer->eos_id(), 261);
  EXPECT_EQ(tokenizer->pad_id(), 261);
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer->unk_id(), std::nullopt);
  EXPECT_THAT(ErrorOf(ByteLevelJson(), R"({"eos_token": "<nope>"})"), HasSubstr("eos_token '<nope>'"));
  EXPECT_THAT(ErrorOf(ByteLevelJson(), "{"), HasSubstr("tokenizer_config.json"));
}

TEST(TokenizerTest, WordLevelRoundTrip) {
  const auto tokenizer = Make(WordLevelJson(), R"({"unk_token": "<unk>"})");
  EXPECT_THAT(tokenizer->Encode("<think> 7 plus 加 what = <eos>"), ElementsAre(2, 3, 5, 4, 0, 6, 1));
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{2, 3, 4, 3, 6, 1}), "<think> 7 加 7 = <eos>");
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{2, 3, 1}, true), "<think> 7");
  EXPECT_EQ(tokenizer->unk_id(), 0);
  EXPECT_TRUE(tokenizer->JoinsWithSpace());
  StreamDecoder decoder(tokenizer.get());
  EXPECT_EQ(decoder.Push(3), "7");
  EXPECT_EQ(decoder.Push(4), " 加");
  EXPECT_EQ(decoder.Push(99), "");
  EXPECT_EQ(decoder.Push(6), " =");
  EXPECT_EQ(decoder.Flush(), "");
  EXPECT_EQ(decoder.Push(3), "7");
}

TEST(TokenizerTest, StreamingGivesWholeCharacters) {
  const auto tokenizer = Make(ByteLevelJson());
  StreamDecoder decoder(tokenizer.get());
  EXPECT_EQ(decoder.Push(0xf0), "");
  EXPECT_EQ(decoder.Push(0x9f), "");
  EXPECT_EQ(decoder.Push(0x98), "");
  EXPECT_EQ(decoder.Push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.Push(0xe6), "");
  EXPECT_EQ(decoder.Push('a'),
            "\xef\xbf\xbd"
            "a")
      << "the character will never be complete";
  EXPECT_EQ(decoder.Push(0xe6), "");
  EXPECT_EQ(decoder.Flush(), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.Push(260), "é");
  StreamDecoder skipping(tokenizer.get(), true);
  EXPECT_EQ(skipping.Push(261), "");
  EXPECT_EQ(skipping.Push(262), "<think>");
}

TEST(TokenizerTest, StreamingEqualsDecoding) {
  const auto tokenizer = Make(ByteLevelJson());
  uint64_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      const auto draw = static_cast<int32_t>(state >> 40);
      ids.push_back(round % 2 == 0 ? draw % 263 : 0x80 + draw % 0x80);  // every other time hardly any whole character
    }
    StreamDecoder decoder(tokenizer.get());
    std::string text;
    for (const int32_t id : ids) text += decoder.Push(id);
    text += decoder.Flush();
    ASSERT_EQ(text, tokenizer->Decode(ids)) << round;
    ASSERT_TRUE(IsValidUtf8(text));
  }
}

TEST(TokenizerTest, ManyThreadsEncode) {
  const auto tokenizer = Make(ByteLevelJson());
  const std::string text = "hello w <think> e\xCC\x81 12 <eos>";
  const std::vector<int32_t> expected = tokenizer->Encode(text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 500; ++round) wrong[i] += tokenizer->Encode(text) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(TokenizerTest, UnknownBytesAreUnkOrDropped) {
  json tokenizer = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"<u>", 1}}}, {"merges", json::array()}}}};
  EXPECT_THAT(Make(tokenizer)->Encode("abba"), ElementsAre(0, 0));
  tokenizer["model"]["unk_token"] = "<u>";
  EXPECT_THAT(Make(tokenizer)->Encode("abba"), ElementsAre(0, 1, 1, 0));
  tokenizer["model"]["fuse_unk"] = true;
  EXPECT_THAT(Make(tokenizer)->Encode("abba"), ElementsAre(0, 1, 0));
}

TEST(TokenizerTest, WhatIsNotSupportedIsNamed) {
  const auto with = [](const char* pointer, const json& value) {
    json tokenizer = ByteLevelJson();
    tokenizer[json::json_pointer(pointer)] = value;
    return ErrorOf(tokenizer);
  };
  EXPECT_THAT(with("/model/type", "Unigram"), HasSubstr("'Unigram'"));
  EXPECT_THAT(with("/model/byte_fallback", true), HasSubstr("byte_fallback"));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(with("/model/continuing_subword_prefix", "##"), HasSubstr("continuing_subword_prefix"));
  EXPECT_THAT(with("/model/unk_token", "<none>"), HasSubstr("<none>"));
  EXPECT_THAT(with("/model/merges", {"h z e"}), HasSubstr("merges[0]"));
  EXPECT_THAT(with("/model/merges", json::array({json::array({"h"})})), HasSubstr("merges[0]"));
  EXPECT_THAT(with("/model/merges", json::array({json::array({"h", "e", "l"})})), HasSubstr("merges[0]"));
  EXPECT_THAT(with("/model/merges", {7}), HasSubstr("merges[0]"));
  EXPECT_THAT(with("/model/merges", {"h x"}), HasSubstr("'hx' is not in the vocabulary"));
  EXPECT_THAT(with("/model/vocab/he", -1), HasSubstr("'he'"));
  EXPECT_THAT(with("/model/vocab/he", 1.5), HasSubstr("'he'"));
  EXPECT_THAT(with("/model/vocab/he", 1ull << 40), HasSubstr("limit"));
  EXPECT_THAT(with("/model/vocab/he", 7), HasSubstr("id 7"));
  EXPECT_THAT(with("/normalizer/type", "Lowercase"), HasSubstr("'Lowercase'"));
  EXPECT_THAT(with("/pre_tokenizer/type", "Metaspace"), HasSubstr("'Metaspace'"));
  EXPECT_THAT(with("/decoder/type", "Metaspace"), HasSubstr("'Metaspace'"));
  EXPECT_THAT(with("/added_tokens/0/id", 3), HasSubstr("'<eos>'"));
  EXPECT_THAT(with("/added_tokens/0/content", "he"), HasSubstr("256"));
  EXPECT_THAT(with("/added_tokens/1/content", "<eos>"), HasSubstr("twice"));
  EXPECT_THAT(with("/added_tokens/0/special", 1), HasSubstr("special"));
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", "[a[b]]"}}}, {"behavior", "Isolated"}, {"invert", false}};
  EXPECT_THAT(with("/pre_tokenizer", split), HasSubstr("not supported"));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, split}}}),
              HasSubstr("must be the last"));
  json word_level = WordLevelJson();
  word_level["model"]["unk_token"] = "<missing>";
  EXPECT_THAT(ErrorOf(word_level), HasSubstr("<missing>"));
}

TEST(TokenizerTest, BrokenJson) {
  const std::string whole = WordLevelJson().dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Tokenizer::FromJson(whole.substr(0, size), "").ok()) << size;
  }
  EXPECT_FALSE(Tokenizer::FromJson(std::string(1000000, '['), "").ok());
  EXPECT_FALSE(Tokenizer::FromJson(R"({"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}})", "").ok());
  EXPECT_FALSE(Tokenizer::FromJson(R"({"model":{"type":"BPE","vocab":{},"vocab":{},"merges":[]}})", "").ok());
  EXPECT_THAT(std::string(Tokenizer::FromDirectory("no/such/folder").status().message()), HasSubstr("tokenizer.json"));
}

// The folder with the tokenizers of real models: $HONE_SHARED, or beside the checkout.
std::string SharedTokenizer(const std::string& name) {
  const char* shared = std::getenv("HONE_SHARED");
  return JoinPath(shared != nullptr ? shared : JoinPath(HONE_SOURCE_DIR, "../shared"), "tokenizers/" + name);
}

const char* const kMixed = "Hello, world!  It's 12345 o'clock.\n\n  def f(x):\r\n\treturn x**2";
const char* const kMarks =
    "答案是四十二。\xF0\x9F\x98\x80\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7 e\xCC\x81\xCC\xA3 "
    "\xC2\xA0\xE3\x80\x80x";

// Goldens from the `tokenizers` library, version 0.23.
TEST(TokenizerTest, Qwen3) {
  const std::string folder = SharedTokenizer("qwen3");
  if (!DirectoryExists(folder)) GTEST_SKIP() << "no tokenizer at " << folder << "; set HONE_SHARED";
  const auto tokenizer = Tokenizer::FromDirectory(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode(kMixed), ElementsAre(9707, 11, 1879, 0, 220, 1084, 594, 220, 16, 17, 18, 19, 20, 297,
                                                        62410, 382, 220, 707, 282, 2075, 5783, 853, 856, 334, 17));
  EXPECT_THAT((*tokenizer)->Encode(kMarks), ElementsAre(102349, 20412, 63703, 101301, 1773, 141334, 145233, 378, 235,
                                                        145665, 220, 124635, 53839, 17091, 22441, 87));
  EXPECT_THAT((*tokenizer)->Encode("<|im_start|>user\n1+1=?<|im_end|>\n<think>"),
              ElementsAre(151644, 872, 198, 16, 10, 16, 19884, 151645, 198, 151667));
  EXPECT_EQ((*tokenizer)->Decode((*tokenizer)->Encode(kMixed)), kMixed);
  EXPECT_EQ((*tokenizer)->eos_id(), 151645);
  EXPECT_EQ((*tokenizer)->vocab_size(), 151669);
}

TEST(TokenizerTest, DeepSeekV3) {
  const std::string folder = SharedTokenizer("deepseek_v3");
  if (!DirectoryExists(folder)) GTEST_SKIP() << "no tokenizer at " << folder << "; set HONE_SHARED";
  const auto tokenizer = Tokenizer::FromDirectory(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT((*tokenizer)->Encode(kMixed),
              ElementsAre(19923, 14, 2058, 3, 223, 983, 734, 223, 6895, 1883, 277, 73417, 339, 223, 1351, 285, 4042,
                          2605, 204, 201, 5562, 1527, 666, 20));
  EXPECT_THAT((*tokenizer)->Encode(kMarks), ElementsAre(94767, 1786, 10804, 320, 28927, 225, 25730, 105, 46088, 25730,
                                                        103, 312, 17793, 100819, 13714, 18524, 90));
  EXPECT_THAT((*tokenizer)->Encode("<｜User｜>hi<｜Assistant｜>"), ElementsAre(128803, 6366, 128804));
  EXPECT_EQ((*tokenizer)->bos_id(), 0);
}

}  // namespace
}  // namespace hone::model
