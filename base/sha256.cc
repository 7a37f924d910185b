#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"
#include "base/strings.h"

namespace hone {

struct Sha256::Impl {
  EVP_MD_CTX* context = nullptr;
  ~Impl() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  impl_->context = EVP_MD_CTX_new();
  HONE_CHECK(impl_->context != nullptr);
  HONE_CHECK_EQ(EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr), 1);
}
Sha256::~Sha256() = default;

void Sha256::Update(std::string_view data) {
  HONE_CHECK_EQ(EVP_DigestUpdate(impl_->context, data.data(), data.size()), 1);
}

std::string Sha256::FinishHex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HONE_CHECK_EQ(EVP_DigestFinal_ex(impl_->context, digest, &size), 1);
  return ToHex({reinterpret_cast<const char*>(digest), size});
}

std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Update(data);
  return hash.FinishHex();
}

}  // namespace hone
