// Imports a GGUF file for gguf_parity.py. usage: gguf_import_tool IN.gguf OUT_FOLDER BF16|F32
#include <iostream>

#include "model/formats/gguf_import.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: gguf_import_tool IN.gguf OUT_FOLDER BF16|F32\n";
    return 2;
  }
  const auto dtype = hone::model::ParseDType(argv[3]);
  const absl::Status status = dtype.ok() ? hone::model::ImportGguf(argv[1], argv[2], *dtype) : dtype.status();
  if (!status.ok()) std::cerr << status.ToString() << "\n";
  return status.ok() ? 0 : 1;
}
