// The groups that the learner's versions are to make: which steps and evaluations are open, and their tasks in order.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "coordinator/core/core.h"
#include "coordinator/core/dynamic_sampling.h"
#include "coordinator/core/stage_plan.h"

namespace hone::coordinator {
namespace {

std::set<int32_t> RecordedSlots(const std::map<int32_t, StepGroups>& groups, int32_t step) {
  std::set<int32_t> slots;
  if (const auto it = groups.find(step); it != groups.end()) {
    for (const auto& [slot, group] : it->second) slots.insert(slot);
  }
  return slots;
}

}  // namespace

std::vector<Core::WantedSet> Core::WantedSets(const RunState& run, int stage) const {
  std::vector<WantedSet> wanted;
  const StageState& state = run.stage(stage);
  const v1::StageSpec& spec = run.spec().stages(stage);
  const int32_t newest = state.published_step;
  if (newest < 0 || state.published_epoch != learner_.epoch) return wanted;
  const int64_t first_version = run.StartOf(stage).first_version;
  const auto served = [&](int32_t step) { return run.PublishedEpoch(first_version + step) == learner_.epoch; };
  for (int32_t step = std::max(0, newest - Lag(spec)); step <= newest; ++step) {
    if (served(step) && EvaluationDue(spec, step, state.finish_step) && !state.evaluations.contains(step)) {
      wanted.push_back({v1::GROUP_PURPOSE_EVALUATE, step, step});
    }
  }
  if (!spec.has_rl()) return wanted;
  const int32_t total = StepsTotal(spec);
  const int32_t last = state.finish_step >= 0 ? std::min(total, state.finish_step) : total;
  for (int32_t step = newest + 1; step <= std::min(last, newest + 1 + Lag(spec)); ++step) {
    // A step that is covered has its batch behind it, though the version after it was not published (a stop at the last
    // step).
    if (step <= run.CoveredStep(stage) || !served(SamplingStep(spec, step))) continue;
    wanted.push_back({v1::GROUP_PURPOSE_TRAIN, step, SamplingStep(spec, step)});
  }
  return wanted;
}

void Core::OpenWork(absl::Time now) {
  const RunState* run = ActiveRun();
  const int index = run == nullptr ? 0 : run->CurrentStage();
  std::vector<WantedSet> wanted;
  if (run != nullptr && index < run->stage_count()) wanted = WantedSets(*run, index);
  std::set<int> open;
  std::erase_if(wanted, [&](const WantedSet& want) {
    for (const auto& [key, set] : leases_.sets()) {
      const v1::TaskContext& context = set.context;
      if (context.run() != run->name() || context.stage() != run->spec().stages(index).name() ||
          context.purpose() != want.purpose || set.step != want.step ||
          context.version().learner_epoch() != learner_.epoch) {
        continue;
      }
      open.insert(key);
      return true;
    }
    return false;
  });
  leases_.CloseExcept(open);
  for (const WantedSet& want : wanted) {
    if (want.purpose == v1::GROUP_PURPOSE_EVALUATE) {
      leases_.Open(MakeEvaluationSet(*run, index, want), RecordedSlots(run->stage(index).evaluation_groups, want.step));
    } else {
      leases_.Open(MakeTrainingSet(*run, index, want), RecordedSlots(run->stage(index).train_groups, want.step));
    }
  }
  Advance(now);
}

v1::TaskContext Core::MakeContext(const RunState& run, int stage, const WantedSet& wanted) {
  const StageStart start = run.StartOf(stage);
  v1::TaskContext context;
  context.set_context_id(options_.incarnation + "-context-" + std::to_string(next_context_++));
  context.set_run(run.name());
  context.set_stage(run.spec().stages(stage).name());
  context.set_run_seed(run.spec().seed());
  context.set_purpose(wanted.purpose);
  v1::PolicyVersion& version = *context.mutable_version();
  version.set_number(start.first_version + wanted.sampling_step);
  version.set_parent(wanted.sampling_step == 0 ? start.parent_version : version.number() - 1);
  version.set_learner_epoch(learner_.epoch);
  version.set_root_hash(run.PublishedHash(version.number()));
  context.set_weights_address(learner_.address);
  context.set_dtype(run.spec().numerics().dtype());
  return context;
}

void Core::AddTask(const RunState& run, const std::string& group_stage, const PromptSet& prompts,
                   const PromptPick& pick, int64_t retry, WorkSet* set) {
  const PromptSource& source = prompts.sources[static_cast<size_t>(pick.source)];
  const v1::PromptRecord& prompt = source.rows[static_cast<size_t>(pick.row)];
  v1::GroupTask task;
  task.set_context_id(set->context.context_id());
  task.set_group_id(GroupId(run.name(), group_stage, prompt.id(), pick.visit, retry));
  task.set_stream(SampleStream(group_stage, prompt.id(), pick.visit, retry));
  *task.mutable_prompt() = prompt;
  task.set_template_(source.prompt_template);
  if (source.system_prompt.has_value()) task.set_system_prompt(*source.system_prompt);
  task.set_prompt_suffix(source.prompt_suffix);
  set->tasks.push_back(std::move(task));
}

WorkSet Core::MakeTrainingSet(const RunState& run, int stage, const WantedSet& wanted) {
  const v1::StageSpec& spec = run.spec().stages(stage);
  const v1::RlStage& rl = spec.rl();
  const auto prompts = FindPrompts(run.name(), rl.dataset());
  HONE_CHECK(prompts != nullptr) << "run " << run.name() << " is active without prompts of " << rl.dataset();
  if (cursor_.run != run.name() || cursor_.stage != spec.name()) {
    cursor_ = {run.name(), spec.name(), std::make_unique<PromptCursor>(prompts, run.spec().seed(), spec.name())};
  }
  WorkSet set;
  set.context = MakeContext(run, stage, wanted);
  *set.context.mutable_sampling() = rl.sampling();
  set.context.set_group_size(rl.group_size());
  set.context.set_max_prompt_tokens(rl.max_prompt_tokens());
  set.context.set_overlong(rl.overlong());
  *set.context.mutable_rewards() = rl.rewards();
  set.step = wanted.step;
  const int64_t first = (static_cast<int64_t>(wanted.step) - 1) * rl.prompts_per_step();
  for (const PromptPick& pick : cursor_.cursor->Range(first, rl.prompts_per_step())) {
    AddTask(run, spec.name(), *prompts, pick, 0, &set);
  }
  const auto groups = run.stage(stage).train_groups.find(wanted.step);
  if (groups != run.stage(stage).train_groups.end()) AddWaves(run, stage, SlotCount(rl, groups->second), &set);
  return set;
}

// A step's replacements have a sequence of prompts of their own, drawn anew for each step, so that no step's prompts
// depend on how many another one replaced.
void Core::AddWaves(const RunState& run, int stage, int32_t slots, WorkSet* set) const {
  const v1::StageSpec& spec = run.spec().stages(stage);
  const int32_t have = static_cast<int32_t>(set->tasks.size());
  if (slots <= have) return;
  const auto prompts = FindPrompts(run.name(), spec.rl().dataset());
  PromptCursor cursor(prompts, run.spec().seed(), spec.name() + "/redraw/" + std::to_string(set->step));
  for (const PromptPick& pick : cursor.Range(have - spec.rl().prompts_per_step(), slots - have)) {
    AddTask(run, spec.name(), *prompts, pick, set->step, set);
  }
}

void Core::OpenNextWave(const RunState& run, int stage, int key) {
  if (leases_.OutstandingIn(key) > 0) return;
  WorkSet set = leases_.sets().at(key);
  const StepGroups& groups = run.stage(stage).train_groups.at(set.step);
  const int32_t slots = SlotCount(run.spec().stages(stage).rl(), groups);
  if (slots == static_cast<int32_t>(groups.size())) return;
  AddWaves(run, stage, slots, &set);
  const std::set<int32_t> recorded = RecordedSlots(run.stage(stage).train_groups, set.step);
  leases_.Replace(key, std::move(set), recorded);
}

WorkSet Core::MakeEvaluationSet(const RunState& run, int stage, const WantedSet& wanted) {
  const int32_t step = wanted.step;
  const v1::StageSpec& spec = run.spec().stages(stage);
  const v1::EvaluationSpec& evaluation = *EvaluationOf(spec);
  const auto prompts = FindPrompts(run.name(), evaluation.dataset());
  HONE_CHECK(prompts != nullptr) << "run " << run.name() << " is active without prompts of " << evaluation.dataset();
  WorkSet set;
  set.context = MakeContext(run, stage, wanted);
  *set.context.mutable_sampling() = evaluation.sampling();
  set.context.set_group_size(evaluation.samples());
  set.context.set_max_prompt_tokens(evaluation.max_prompt_tokens());
  set.context.set_overlong(evaluation.overlong());
  *set.context.mutable_rewards() = evaluation.rewards();
  set.step = step;
  for (const PromptPick& pick : EvaluationOrder(*prompts, evaluation.max_problems(), step)) {
    AddTask(run, spec.name() + "/eval", *prompts, pick, 0, &set);
  }
  return set;
}

}  // namespace hone::coordinator
