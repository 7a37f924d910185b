// Plays every testdata/*.txt against the core and compares what it says with what the file says. A file is a list of
// commands (transcript.h); below each command stands its expected output. With HONE_REWRITE_TRANSCRIPTS=1 the files are
// rewritten: read the difference before you commit it.
#include "coordinator/core/transcript.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "base/files.h"

namespace hone::coordinator {
namespace {

const char kDirectory[] = HONE_SOURCE_DIR "/coordinator/core/testdata";

std::vector<std::string> Files() {
  std::vector<std::string> files;
  const auto names = ListDirectory(kDirectory);
  if (names.ok()) {
    for (const std::string& name : *names) {
      if (name.ends_with(".txt")) files.push_back(name);
    }
  }
  return files;
}

class TranscriptTest : public testing::TestWithParam<std::string> {};

TEST_P(TranscriptTest, SaysWhatIsWritten) {
  const std::string path = JoinPath(kDirectory, GetParam());
  const auto text = ReadFile(path);
  ASSERT_TRUE(text.ok()) << text.status();
  Transcript transcript;
  std::istringstream lines(*text);
  std::string line;
  std::string actual;
  // Commands begin with "> "; comments and blank lines are kept; everything else is output and made anew.
  while (std::getline(lines, line)) {
    if (line.empty() || line.front() == '#') {
      actual += line + "\n";
    } else if (line.starts_with("> ")) {
      actual += line + "\n" + transcript.Run(line.substr(2));
    }
  }
  if (std::getenv("HONE_REWRITE_TRANSCRIPTS") != nullptr) {
    ASSERT_TRUE(WriteFileAtomic(path, actual).ok());
  } else {
    EXPECT_EQ(actual, *text);
  }
  // Whatever happened: the journal alone tells the same story.
  EXPECT_EQ(transcript.DescribeRebuilt(), transcript.DescribePresent());
}

INSTANTIATE_TEST_SUITE_P(Core, TranscriptTest, testing::ValuesIn(Files()), [](const auto& info) {
  std::string name = info.param.substr(0, info.param.size() - 4);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

TEST(Transcripts, Exist) { EXPECT_GE(Files().size(), 10u); }

}  // namespace
}  // namespace hone::coordinator
