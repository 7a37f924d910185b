// A run of a minute's small world that takes seconds: every stage kind that trains, real processes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace hone::cli {

// Prompts are long enough that a group's samples share their rows in the learner.
//
// Writes tiny-data/ and tiny.yaml: stage `base` (pretrain, 8 steps), `zero` (rl, 6 steps, with evaluations), `model`
// (export). False, and the test fails, where that did not work.
bool MakeTinyWorld();

// The flags of `hone up` that run it with its own state and output folders.
std::string TinyRun(const std::string& state, const std::string& output);

// summary.json of a run's output folder; an empty object, and the test fails, where there is none.
nlohmann::json Summary(const std::string& output);

}  // namespace hone::cli
