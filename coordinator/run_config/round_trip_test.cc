// Property: what ToYaml writes reads back to the same message, for random messages made through reflection.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

#include "coordinator/run_config/resolve.h"
#include "coordinator/run_config/yaml_reader.h"
#include "coordinator/run_config/yaml_writer.h"

namespace hone {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Bits() { return engine_(); }
  int Below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }

  std::string Text() {
    static const char* const kPieces[] = {
        "a",  "Z", "0",   "true", "null", "~",      " ",      "  ",     ":", "#",  "- ",  "'",    "\"", "\\", "\n",
        "\t", "{", "]",   ",",    "&x",   "*y",     "!",      "加",     "é", "😀",  "\r",  "\x01", "|",  ">",  "%",
        "@",  "`", "1e3", "\x7f", "?",    "\u2028", "\ufeff", "\u0085", "=", "<<", "...", "---",  "0x1"};
    std::string text;
    for (int n = Below(7); n > 0; --n) text += kPieces[Below(std::size(kPieces))];
    return text;
  }
  double Real() {
    switch (Below(4)) {
      case 0:
        return Below(1000);
      case 1:
        return -0.0;
      default:
        for (;;) {
          const double value = std::bit_cast<double>(Bits());
          if (std::isfinite(value)) return value;
        }
    }
  }

 private:
  std::mt19937_64 engine_;
};

void FillRandomly(Message* message, Random* random, int depth);

void PutRandom(Message* m, const FieldDescriptor* f, Random* random, int depth) {
  const Reflection& r = *m->GetReflection();
  const bool add = f->is_repeated();
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      const auto value = static_cast<int32_t>(random->Bits());
      add ? r.AddInt32(m, f, value) : r.SetInt32(m, f, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t value = random->Below(8) == 0 ? INT64_MIN : static_cast<int64_t>(random->Bits());
      add ? r.AddInt64(m, f, value) : r.SetInt64(m, f, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_UINT64:
      add ? r.AddUInt64(m, f, random->Bits()) : r.SetUInt64(m, f, random->Bits());
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      add ? r.AddDouble(m, f, random->Real()) : r.SetDouble(m, f, random->Real());
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      add ? r.AddBool(m, f, random->Below(2)) : r.SetBool(m, f, random->Below(2));
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value = f->enum_type()->value(1 + random->Below(f->enum_type()->value_count() - 1));
      add ? r.AddEnum(m, f, value) : r.SetEnum(m, f, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      add ? r.AddString(m, f, random->Text()) : r.SetString(m, f, random->Text());
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Message* child = add ? r.AddMessage(m, f) : r.MutableMessage(m, f);
      if (child->GetDescriptor() == google::protobuf::Duration::descriptor()) {
        auto* duration = static_cast<google::protobuf::Duration*>(child);
        const int sign = random->Below(2) == 0 ? 1 : -1;
        duration->set_seconds(sign * static_cast<int64_t>(random->Bits() % 300'000'000'000u));
        duration->set_nanos(sign * random->Below(1'000'000'000));
      } else {
        FillRandomly(child, random, depth + 1);
      }
      break;
    }
    default:
      FAIL() << "a type that the schema did not have when this test was written: " << f->full_name();
  }
}

void FillRandomly(Message* message, Random* random, int depth) {
  const google::protobuf::Descriptor* type = message->GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (random->Below(depth == 0 ? 5 : 2) == 1) continue;
    if (field->real_containing_oneof() != nullptr &&
        message->GetReflection()->HasOneof(*message, field->real_containing_oneof())) {
      continue;
    }
    if (!field->is_repeated()) {
      PutRandom(message, field, random, depth);
      continue;
    }
    for (int n = random->Below(4); n > 0; --n) PutRandom(message, field, random, depth);
  }
}

TEST(RoundTrip, RandomMessagesReadBackEqual) {
  size_t bytes = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    v1::RunSpec spec;
    FillRandomly(&spec, &random, 0);
    // Map entries that a random draw repeated count once: the message as the wire would hand it on.
    v1::RunSpec clean;
    ASSERT_TRUE(clean.ParseFromString(spec.SerializeAsString()));
    const std::string text = ToYaml(clean);
    bytes += text.size();
    const auto back = ParseRunYaml(text, "written.yaml");
    ASSERT_TRUE(back.ok()) << back.status() << "\n" << text;
    google::protobuf::util::MessageDifferencer differencer;
    std::string differences;
    differencer.ReportDifferencesToString(&differences);
    ASSERT_TRUE(differencer.Compare(clean, *back)) << differences << "\n" << text;
    EXPECT_EQ(ToYaml(*back), text);
    EXPECT_EQ(CanonicalSpecHash(*back), CanonicalSpecHash(clean));
  }
  EXPECT_GT(bytes, 400u * 500u) << "the random messages were nearly empty: the property was hardly tested";
}

TEST(RoundTrip, TheTextIsReadable) {
  v1::RunSpec spec;
  spec.set_name("tiny");
  (*spec.mutable_datasets())["train"].add_sources()->set_path("a b.jsonl");
  v1::StageSpec* stage = spec.add_stages();
  stage->set_name("zero");
  stage->mutable_rl()->mutable_sampling()->add_stop("\n");
  stage->mutable_rl()->add_rewards()->mutable_length();
  stage->mutable_rl()->mutable_optimizer()->set_learning_rate(3e-4);
  spec.mutable_budget()->mutable_max_time()->set_seconds(90);
  EXPECT_EQ(ToYaml(spec), R"(name: tiny
datasets:
  train:
    sources:
      - path: "a b.jsonl"
stages:
  - name: zero
    rl:
      sampling:
        stop: ["\n"]
      rewards:
        - length: {}
      optimizer:
        learning_rate: 0.0003
budget:
  max_time: 1m30s
)");
  EXPECT_EQ(ToYaml(v1::RunSpec()), "{}\n");
}

TEST(CanonicalHash, ChangesWithEveryFieldAndNotWithTheFile) {
  const auto a = ParseRunYaml("name: a\nseed: 3\n", "a.yaml");
  const auto b = ParseRunYaml("{seed: 3, name: \"a\"}  # the same\n", "b.yaml");
  const auto c = ParseRunYaml("name: a\nseed: 4\n", "c.yaml");
  const auto d = ParseRunYaml("name: a\n", "d.yaml");
  ASSERT_TRUE(a.ok() && b.ok() && c.ok() && d.ok());
  EXPECT_EQ(CanonicalSpecHash(*a), CanonicalSpecHash(*b));
  EXPECT_NE(CanonicalSpecHash(*a), CanonicalSpecHash(*c));
  EXPECT_NE(CanonicalSpecHash(*a), CanonicalSpecHash(*d));
  // sha256 of "name: a\nseed: 3\n", by coreutils' sha256sum.
  EXPECT_EQ(CanonicalSpecHash(*a), "9093603796f47bf772bbd6e4c3cf469585f925e15637f729046f87309d8e99fe");
}

}  // namespace
}  // namespace hone
