// How large the messages between Hone's processes may be. Each limit leaves room for what is put around the thing it
// limits, so that what is within its own limit fits everywhere it goes.
#pragma once

#include <cstddef>

namespace hone {

// Of any message: what channels and servers send and take.
inline constexpr int kMaxMessageBytes = 64 << 20;
// Of a request to the coordinator: a journal record around it still fits a message (coordinator/journal/frame.h).
inline constexpr size_t kMaxRequestBytes = 48u << 20;
// Of a group's record, less what its way through the cluster adds (attempt, worker, times): a request around it fits.
// A larger group cannot be handed in, whoever makes it: it is dropped.
inline constexpr size_t kMaxGroupBytes = 47u << 20;

}  // namespace hone
