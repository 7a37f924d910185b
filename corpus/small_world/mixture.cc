#include "corpus/small_world/mixture.h"

#include <algorithm>
#include <vector>

#include "corpus/small_world/draw.h"
#include "corpus/small_world/problem.h"
#include "corpus/small_world/vocabulary.h"

namespace hone::corpus {
namespace {

// The mixture's shares and error rates.
constexpr double kRawShare = 0.25;
constexpr double kGeneralShare = 0.20;
constexpr double kFullShare = 0.20;  // of the reasoning rows, like the next two; the rest is direct
constexpr double kTaglessShare = 0.16;
constexpr double kShortShare = 0.42;
constexpr double kDirectShare = 0.22;

constexpr double kRawStepError = 0.03;
constexpr double kStepError = 0.05;
constexpr double kWaitShare = 0.25;  // of full and tag-less traces: a second pass
constexpr double kFirstPassStepError = 0.2;
constexpr double kSecondPassStepError = 0.02;
constexpr double kRandomAnswer = 0.1;  // of short and direct answers
constexpr double kJunk = 0.25;
constexpr int kMaxJunk = 5;

constexpr double kAskedLanguage = 0.35;
constexpr double kOtherLanguage = 0.15;  // the rest chooses a language anew for each word

constexpr double kGeneralCorruption = 0.25;
constexpr double kGeneralCourtesy = 0.35;
constexpr double kGeneralJunk = 0.30;

using Words = std::vector<std::string>;

// Speaks in one language, or in both at random.
class Speaker {
 public:
  Speaker(Language asked, Draw* draw) : draw_(draw) {
    const int mode = draw->Pick({kAskedLanguage, kOtherLanguage, 1 - kAskedLanguage - kOtherLanguage});
    mixed_ = mode == 2;
    language_ = mode == 1 ? Other(asked) : asked;
  }
  const std::string& Say(Word word) {
    return WordText(word, mixed_ ? static_cast<Language>(draw_->Below(2)) : language_);
  }

 private:
  Draw* draw_;
  bool mixed_ = false;
  Language language_ = Language::kEnglish;
};

// Appends `d0 plus d1 is r1 times d2 is r2 ...` and returns the last result. With probability `step_error` a step's
// result is replaced by a random digit, and the chain goes on from that.
int AppendChain(const Problem& problem, double step_error, Speaker* speaker, Draw* draw, Words* out) {
  int value = problem.digits[0];
  out->push_back(std::to_string(value));
  for (size_t i = 0; i < problem.operators.size(); ++i) {
    value = ApplyOperator(value, problem.operators[i], problem.digits[i + 1]);
    if (draw->Chance(step_error)) value = draw->Below(10);
    out->push_back(speaker->Say(problem.operators[i]));
    out->push_back(std::to_string(problem.digits[i + 1]));
    out->push_back(speaker->Say(Word::kIs));
    out->push_back(std::to_string(value));
  }
  return value;
}

// One chain, or (kWaitShare) a careless one, `wait`, and a careful one whose result counts.
int AppendThought(const Problem& problem, Speaker* speaker, Draw* draw, Words* out) {
  if (!draw->Chance(kWaitShare)) return AppendChain(problem, kStepError, speaker, draw, out);
  AppendChain(problem, kFirstPassStepError, speaker, draw, out);
  out->push_back(speaker->Say(Word::kWait));
  return AppendChain(problem, kSecondPassStepError, speaker, draw, out);
}

void AppendJunk(double probability, Draw* draw, Words* out) {
  if (!draw->Chance(probability)) return;
  for (int n = 1 + draw->Below(kMaxJunk); n > 0; --n) {
    int pick = draw->Below(2 * kWordCount + kLetterCount + 10);
    if (pick < 2 * kWordCount) {
      out->push_back(WordText(static_cast<Word>(pick % kWordCount), static_cast<Language>(pick / kWordCount)));
      continue;
    }
    pick -= 2 * kWordCount;
    out->push_back(pick < kLetterCount ? LetterText(pick) : std::to_string(pick - kLetterCount));
  }
}

void AppendAnswer(int answer, Words* out) {
  for (const std::string& word : {std::string("<answer>"), std::to_string(answer), std::string("</answer>")}) {
    out->push_back(word);
  }
}

MixtureRow MakeReasoning(Draw* draw) {
  const Problem problem = DrawProblem(draw, false);
  MixtureRow row;
  row.prompt = PromptText(problem);
  Speaker speaker(problem.language, draw);
  Words words;
  const int mode = draw->Pick({kFullShare, kTaglessShare, kShortShare, kDirectShare});
  row.kind = static_cast<RowKind>(static_cast<int>(RowKind::kFull) + mode);
  if (row.kind == RowKind::kFull) {
    words.push_back("<think>");
    const int answer = AppendThought(problem, &speaker, draw, &words);
    words.push_back("</think>");
    AppendAnswer(answer, &words);
  } else if (row.kind == RowKind::kTagless) {
    if (draw->Chance(0.5)) words.push_back("<think>");
    const int answer = AppendThought(problem, &speaker, draw, &words);
    words.push_back(speaker.Say(Word::kSo));
    words.push_back(std::to_string(answer));
  } else {
    const int answer = draw->Chance(kRandomAnswer) ? draw->Below(10) : Solve(problem);
    if (row.kind == RowKind::kShort) {
      words = {"<think>", speaker.Say(Word::kSo), std::to_string(answer), "</think>"};
      AppendAnswer(answer, &words);
    } else {
      words = {std::to_string(answer)};
    }
  }
  AppendJunk(kJunk, draw, &words);
  row.text = JoinWords(words);
  return row;
}

// Replaces one item by another of its kind (a greeting's first word, which is alone of its kind, by a letter).
void Corrupt(bool greeting, Draw* draw, Words* content) {
  const int at = draw->Below(static_cast<int>(content->size()));
  const bool name = greeting && at == 1;
  const std::string before = (*content)[at];
  while ((*content)[at] == before)
    (*content)[at] = name ? NameText(draw->Below(kNameCount)) : LetterText(draw->Below(kLetterCount));
}

MixtureRow MakeGeneral(Draw* draw) {
  MixtureRow row;
  row.kind = RowKind::kGeneral;
  for (;;) {
    const Language language = static_cast<Language>(draw->Below(2));
    const int task = draw->Below(4);
    Words question;
    Words content;
    if (task == 0) {
      question = {"greet", NameText(draw->Below(kNameCount)), LetterText(draw->Below(kLetterCount))};
      content = {WordText(Word::kHello, language), question[1], question[2]};
    } else {
      for (int n = 3 + draw->Below(3); n > 0; --n) content.push_back(LetterText(draw->Below(kLetterCount)));
      question = content;
      question.insert(question.begin(), task == 1 ? "echo" : task == 2 ? "sort" : "rev");
      if (task == 2) std::sort(content.begin(), content.end());
      if (task == 3) std::reverse(content.begin(), content.end());
    }
    question.push_back("=");
    // Greetings have 32 forms only: none of them is held out.
    if (task != 0 && IsHeldOut(JoinWords(question))) continue;
    row.prompt = LanguageTag(language) + " " + JoinWords(question);
    if (draw->Chance(kGeneralCorruption)) Corrupt(task == 0, draw, &content);
    if (draw->Chance(kGeneralCourtesy)) {
      const bool any = draw->Chance(0.5);
      content.push_back(WordText(Word::kThanks, any ? static_cast<Language>(draw->Below(2)) : language));
    }
    AppendJunk(kGeneralJunk, draw, &content);
    row.text = JoinWords(content);
    return row;
  }
}

}  // namespace

MixtureRow MakeMixtureRow(uint64_t seed, uint64_t index) {
  Draw draw(seed, "pretrain", index);
  const int part = draw.Pick({kRawShare, kGeneralShare, 1 - kRawShare - kGeneralShare});
  if (part == 1) return MakeGeneral(&draw);
  if (part == 2) return MakeReasoning(&draw);
  const Problem problem = DrawProblem(&draw, false);
  Speaker speaker(problem.language, &draw);
  Words words;
  AppendChain(problem, kRawStepError, &speaker, &draw, &words);
  return {RowKind::kRawText, "", JoinWords(words)};
}

}  // namespace hone::corpus
