#include "learner/repetition_dropout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "learner/dataset.h"
#include "learner/policy.h"
#include "learner/supervised_step.h"
#include "learner/testing/tiny_world.h"

namespace hone::learner {
namespace {

using testing::ElementsAre;

// Tokens 5 6 7 5 6 with probability 1: the repeated pair is hidden at both places (1), in every layer.
TEST(RepetitionDropout, HidesAllOccurrencesOfWhatComesBack) {
  const std::vector<int32_t> tokens = {5, 6, 7, 5, 6};
  EXPECT_THAT(RepeatedKeys(tokens, 2, {.probability = 1}, 1), ElementsAre(1, 1, 0, 1, 1, 1, 1, 0, 1, 1));
  EXPECT_THAT(RepeatedKeys(tokens, 2, {.probability = 0}, 1), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  // Tokens that come back alone are no n-gram.
  EXPECT_THAT(RepeatedKeys(std::vector<int32_t>{1, 2, 3, 1, 4, 1}, 1, {.probability = 1}, 1),
              ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_THAT(RepeatedKeys(std::vector<int32_t>{4, 4, 4}, 1, {.probability = 1}, 1), ElementsAre(1, 1, 1));
  EXPECT_TRUE(RepeatedKeys({}, 3, {.probability = 1}, 1).empty());
  EXPECT_THAT(RepeatedKeys(std::vector<int32_t>{4}, 2, {.probability = 1, .max_ngram = 5}, 1), ElementsAre(0, 0));
}

TEST(RepetitionDropout, DrawsForEachNgramAndLayer) {
  // 40 different pairs, each twice, with a token between them that never comes back.
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 80; ++i) tokens.insert(tokens.end(), {2 * (i % 40), 2 * (i % 40) + 1, 1000 + i});
  constexpr int kLayers = 50;
  const RepetitionDropout dropout{.probability = 0.6};
  const std::vector<uint8_t> hidden = RepeatedKeys(tokens, kLayers, dropout, 3);
  for (int layer = 0; layer < kLayers; ++layer) {
    const uint8_t* row = hidden.data() + static_cast<size_t>(layer) * tokens.size();
    for (size_t i = 0; i < 120; i += 3) {
      ASSERT_EQ(row[i], row[i + 1]);
      ASSERT_EQ(row[i], row[i + 120]) << "both occurrences";
      ASSERT_EQ(row[i + 2], 0);
    }
  }
  const int count = std::accumulate(hidden.begin(), hidden.end(), 0);
  EXPECT_NEAR(count / (4.0 * 40 * kLayers), 0.6, 5 * std::sqrt(0.24 / (40.0 * kLayers)));
  EXPECT_EQ(RepeatedKeys(tokens, kLayers, dropout, 3), hidden);
  EXPECT_NE(RepeatedKeys(tokens, kLayers, dropout, 4), hidden);
}

// Trigrams are drawn beside the pairs that they are made of.
TEST(RepetitionDropout, LongerNgramsHideMore) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      for (int k = 0; k < 3; ++k) tokens.push_back(10 * i + k);
      tokens.push_back(1000 + 2 * i + repeat);
    }
  }
  const auto share = [&](int max_ngram) {
    const auto hidden = RepeatedKeys(tokens, 40, {.probability = 0.3, .max_ngram = max_ngram}, 5);
    return std::accumulate(hidden.begin(), hidden.end(), 0.0) / static_cast<double>(hidden.size());
  };
  // Of a b c: ends are hidden with 0.3, the middle with 1 - 0.7^2; with trigrams 1 - 0.7^2 and 1 - 0.7^3.
  EXPECT_NEAR(share(2), (2 * 0.3 + 0.51) / 4, 0.03);
  EXPECT_NEAR(share(3), (2 * 0.51 + 0.657) / 4, 0.03);
}

// What is hidden follows the sequence, not its place in a micro-batch.
TEST(RepetitionDropout, DoesNotDependOnThePacking) {
  std::vector<TrainingSequence> sequences;
  for (int32_t s = 0; s < 3; ++s) {
    TrainingSequence sequence;
    for (int32_t i = 0; i < 12; ++i) sequence.tokens.push_back(s + i % 4);
    sequence.targets = {3, 5};
    sequences.push_back(sequence);
  }
  const std::vector<int32_t> order = {0, 1, 2};
  std::vector<std::vector<uint8_t>> rows;  // each sequence's, layer by layer
  for (const int64_t budget : {1, 1000}) {
    std::vector<std::vector<uint8_t>> found(3);
    for (MicroBatch& batch : PackMicroBatches(sequences, order, {budget})) {
      HideRepetitions(4, {.probability = 0.5}, 9, &batch);
      for (size_t m = 0; m < batch.members.size(); ++m) {
        for (int64_t layer = 0; layer < 4; ++layer) {
          const auto begin = batch.packed.masked_keys.begin() + layer * std::ssize(batch.packed.tokens);
          auto& own = found[static_cast<size_t>(batch.members[m])];
          own.insert(own.end(), begin + batch.packed.starts[m], begin + batch.packed.starts[m + 1]);
        }
      }
    }
    if (rows.empty()) rows = found;
    EXPECT_EQ(found, rows);
  }
  EXPECT_NE(rows[0], rows[1]);
}

// It reaches the model: the loss of a repetitive batch is another, the same for the same step, and training goes on.
TEST(RepetitionDropout, ChangesTheStep) {
  const auto kernels = kernels::KernelContext::Create(2);
  const auto loss = [&](double probability, int64_t step_key) {
    LoadedModel loaded{.config = TinyConfig(), .masters = model::RandomParameters(TinyConfig(), 3)};
    for (float& w : loaded.masters.span()) w *= 20;  // so that attention looks somewhere
    PolicyOptions options;
    options.optimizer.schedule.peak = 1e-3;
    Policy policy(*kernels, std::move(loaded), options);
    // As rows of a file come: all of one group, with a beginning in common.
    SupervisedRow row;
    for (int32_t i = 0; i < 40; ++i) row.tokens.push_back(5 + i % 7);
    row.loss_begin = 25;
    const TrainingSequence sequence = MakeSequence(row);
    const auto metrics =
        SupervisedStep(&policy, {sequence, sequence}, 1, {.probability = probability}, static_cast<uint64_t>(step_key));
    EXPECT_EQ(metrics.at("actor/skipped_updates"), 0);
    return metrics.at("loss");
  };
  const double plain = loss(0, 1), hidden = loss(0.6, 1);
  EXPECT_NE(plain, hidden);
  EXPECT_EQ(loss(0.6, 1), hidden);
  EXPECT_NE(loss(0.6, 2), hidden);
}

}  // namespace
}  // namespace hone::learner
