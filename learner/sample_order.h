// In which order the rows of a mixture are trained on: a pure function of (seed, stage, sizes, weights, index).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone::learner {

// Walks an endless sequence of (source, row). Item i comes from the source that is furthest behind its share of the
// first i + 1 items (the first one among equals), so the mixture is exact at every moment. A source's rows are cycled;
// each of its epochs has an order of its own: Permutation(StreamKey(seed, "shuffle/<stage>/<source>", epoch)), or file
// order where `shuffle` is false. Not thread-safe. There is no state to save: Skip(n) of a new object is where n items
// have been taken.
class SampleOrder {
 public:
  struct Source {
    int64_t rows = 0;   // > 0 where weight > 0
    double weight = 1;  // >= 0, at least one > 0
  };
  struct Item {
    int32_t source = 0;
    int64_t row = 0;
  };
  SampleOrder(uint64_t seed, const std::string& stage, std::vector<Source> sources, bool shuffle);
  Item Next();
  void Skip(int64_t items);

 private:
  struct Cursor {
    int64_t taken = 0;
    int64_t epoch = -1;  // of `order`
    std::vector<int64_t> order;
  };
  int32_t Draw();  // the next item's source; counts it

  uint64_t seed_;
  std::string stage_;
  std::vector<Source> sources_;
  bool shuffle_;
  double total_weight_ = 0;
  int64_t drawn_ = 0;
  std::vector<Cursor> cursors_;
};

}  // namespace hone::learner
