// A small language for scenarios of the core: commands in, records and answers out as readable lines. For tests only.
//
//   create RUN stages="zero:rl:2 after:evaluate" prompts=2 group=2 rows=5 [seed=]
//       [eval_rows=] [eval_every=] [keep_best=1] [from=CHECKPOINT] [every_steps=] [keep_last=]
//       [budget=SECONDS] [overlong=fail] [prompt_mib=15] [waves=] [fallback=fail] [refresh=STEPS] [mode=one_step_off]
//       [on_non_finite=pause]
//   register worker|learner|reward NAME [keys=a,b]
//   heartbeat NAME
//   members
//   lease NAME max=2 [holding=t:3,e:1]
//   submit NAME t:3 [accuracy=0|unscorable|mixed] [hash=b] [attempt=1] [drop=reason] [logprob=nan] [text_mib=48]
//   decline NAME t:3 reason="too large"
//   next-work NAME
//   publish NAME step=0 hash=a
//   await NAME version=0
//   fetch NAME step=1
//   report NAME step=1 [total=9] [skipped=1]
//   checkpoint NAME step=1 hash=a
//   finish NAME [outcome=failed] steps=2 hash=a
//   pause|resume|stop|status RUN
//   wait SECONDS
//   restart [after=SECONDS]
//
// A group is called by its purpose and prompt, as last leased: t:3 trains on prompt 3, e:1 evaluates prompt 1. A hash
// is one letter, written 64 times. `restart` throws the core away and makes a new one from the journal,
// SECONDS later.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/core/core.h"

namespace hone::coordinator {

class Transcript {
 public:
  Transcript();
  // Runs one command line; the records it journaled and its answer, a line each.
  std::string Run(const std::string& line);
  // What a core rebuilt from the journal alone says about every run; and what the present one says.
  std::string DescribeRebuilt() const;
  std::string DescribePresent() const;

 private:
  struct Arguments;
  struct Session {
    std::string id;
    int64_t epoch = 0;
    v1::LearnerWork work;

    std::string Stage() const {
      return work.spec().stages().empty() ? "" : work.spec().stages(work.stage_index()).name();
    }
    template <typename Request>
    void Fill(Request* request) const {
      request->set_member_id(id);
      request->set_learner_epoch(epoch);
    }
  };
  struct LeasedTask {
    v1::GroupTask task;
    v1::TaskContext context;
  };
  std::unique_ptr<Core> NewCore();
  std::string Dispatch(const std::string& command, const Arguments& arguments);
  std::string Create(const Arguments& arguments);
  std::string Register(const Arguments& arguments);
  std::string Lease(const Arguments& arguments);
  std::string Submit(const Arguments& arguments);
  std::string Decline(const Arguments& arguments);
  std::string Learner(const std::string& command, const Arguments& arguments);
  std::string NextWork(Session* session);
  std::string Fetch(const Session& session, int step);
  std::string Checkpoint(const Session& session, const Arguments& arguments);
  std::string Finish(const Session& session, const Arguments& arguments);
  std::string Control(const std::string& command, const std::string& run);
  std::string Members() const;

  absl::Time now_ = absl::UnixEpoch();
  std::vector<v1::JournalRecord> journal_;
  size_t shown_ = 0;
  int lives_ = 0;
  std::map<std::string, PromptSets> prompts_;
  std::map<std::string, Session> sessions_;
  std::map<std::string, LeasedTask> leased_;
  std::unique_ptr<Core> core_;
};

}  // namespace hone::coordinator
