// `hone data make|get|filter`: thin entries to corpus/.
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/command.h"
#include "cli/commands/commands.h"
#include "cli/exit_codes.h"
#include "cli/output.h"
#include "corpus/datasets/datasets.h"
#include "corpus/pass_rate/pass_rate_filter.h"
#include "corpus/small_world/small_world.h"

namespace hone::cli {

int RunDataMake(const Args& args) {
  std::string out;
  int64_t seed = 0;
  corpus::SmallWorldOptions options;
  FlagParser flags =
      MakeFlags("data make", "Writes a synthetic data set. Known: small-world (a model folder and its data).",
                {"hone data make small-world --out runs/quickstart-data --seed 0"});
  flags.Add("out", &out, "the folder to write; required");
  flags.Add("seed", &seed, "the same seed gives the same bytes everywhere");
  flags.Add("pretrain_rows", &options.pretrain_rows, "rows of the pretraining mixture");
  flags.Add("train_rows", &options.train_rows, "distinct problems to train on");
  flags.Add("test_rows", &options.test_rows, "distinct held-out problems");
  std::vector<std::string> names;
  if (const auto exit = ParseArgs(&flags, "data make", {"NAME", 1, 1}, args, &names)) return *exit;
  if (names[0] != "small-world") {
    return Fail(
        absl::NotFoundError(absl::StrCat("no synthetic data set is called '", names[0], "'; known: small-world")));
  }
  if (out.empty() || seed < 0) {
    Note("data make: expected --out DIR and --seed of at least 0");
    return kExitUsage;
  }
  options.seed = static_cast<uint64_t>(seed);
  if (const absl::Status status = corpus::WriteSmallWorld(options, out); !status.ok()) return Fail(status);
  Print(out + "\n");
  return kExitOk;
}

int RunDataGet(const Args& args) {
  std::string out, from;
  FlagParser flags = MakeFlags(
      "data get",
      absl::StrCat("Fetches a public data set, checks it and writes it as prompt, answer and completion. Known: ",
                   corpus::KnownDatasetNames(), "."),
      {"hone data get gsm8k --out runs/gsm8k", "hone data get gsm8k --from /data --out runs/gsm8k"});
  flags.Add("out", &out, "the folder to write; required");
  flags.Add("from", &from, "a folder that holds the files, instead of the network; else $HONE_DATA");
  std::vector<std::string> names;
  if (const auto exit = ParseArgs(&flags, "data get", {"NAME", 1, 1}, args, &names)) return *exit;
  if (out.empty()) {
    Note("data get: expected --out DIR");
    return kExitUsage;
  }
  const absl::StatusOr<corpus::DatasetEntry> entry = corpus::FindDataset(names[0]);
  if (!entry.ok()) return Fail(entry.status());
  const char* folder = std::getenv("HONE_DATA");
  if (from.empty() && folder != nullptr) from = folder;
  if (const absl::Status status = corpus::GetDataset(*entry, from, out); !status.ok()) return Fail(status);
  Note(absl::StrCat(entry->name, ": ", entry->source, "; licence: ", entry->licence));
  Print(out + "\n");
  return kExitOk;
}

int RunDataFilter(const Args& args) {
  corpus::PassRateOptions options;
  FlagParser flags =
      MakeFlags("data filter", "Keeps the problems whose measured pass rate lies in a range.",
                {"hone samples measure --all --output json > samples.jsonl",
                 "hone data filter --data train.jsonl --samples samples.jsonl --out train.filtered.jsonl"});
  flags.Add("data", &options.data_path, "the problems, JSON Lines; required");
  flags.Add("samples", &options.samples_path,
            "samples of an evaluation of them (`hone samples --all --output json`); required");
  flags.Add("out", &options.out_path, "the file to write; required");
  flags.Add("component", &options.component, "the reward component that counts");
  flags.Add("id_column", &options.id_column, "key of a problem's id");
  flags.Add("min_pass", &options.min_pass, "lowest pass rate kept");
  flags.Add("max_pass", &options.max_pass, "highest pass rate kept");
  if (const auto exit = ParseArgs(&flags, "data filter", args)) return *exit;
  if (options.data_path.empty() || options.samples_path.empty() || options.out_path.empty()) {
    Note("data filter: expected --data FILE, --samples FILE and --out FILE");
    return kExitUsage;
  }
  const absl::StatusOr<corpus::PassRateReport> report = corpus::FilterByPassRate(options);
  if (!report.ok()) return Fail(report.status());
  Note(absl::StrFormat("%d of %d problems measured (%d samples, mean pass rate %.3f), %d kept", report->measured,
                       report->rows, report->samples, report->mean_pass, report->kept));
  Print(options.out_path + "\n");
  return kExitOk;
}

}  // namespace hone::cli
