/* A signal that is read piece by piece, in the shape that sketches for Edge Impulse use. */
#ifndef TINYOPS_EI_NUMPY_TYPES_H
#define TINYOPS_EI_NUMPY_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace ei {

/* What fills `length` floats from a place in the signal on, and answers 0: a function, or a closure of
 * up to four words without a destructor. Nothing is allocated. */
class ei_signal_reader {
 public:
  ei_signal_reader() : invoke_(nullptr) {}
  ei_signal_reader(decltype(nullptr)) : invoke_(nullptr) {}
  ei_signal_reader(int (*function)(size_t, size_t, float *)) { keep(function); }
  template <typename Closure>
  ei_signal_reader(Closure closure) {
    keep(closure);
  }

  int operator()(size_t offset, size_t length, float *out) const {
    return invoke_ == nullptr ? -1 : invoke_(kept_.bytes, offset, length, out);
  }
  explicit operator bool() const { return invoke_ != nullptr; }

 private:
  template <typename Closure>
  void keep(Closure closure) {
    static_assert(sizeof(Closure) <= sizeof kept_, "a closure over a signal has four words at most");
    static_assert(__has_trivial_destructor(Closure), "a closure over a signal owns nothing");
    memcpy(kept_.bytes, static_cast<const void *>(&closure), sizeof closure);
    invoke_ = [](const unsigned char *bytes, size_t offset, size_t length, float *out) -> int {
      return (*reinterpret_cast<const Closure *>(bytes))(offset, length, out);
    };
  }

  union {
    unsigned char bytes[4 * sizeof(void *)];
    void *alignment;
  } kept_;
  int (*invoke_)(const unsigned char *, size_t, size_t, float *);
};

typedef struct ei_signal_t {
  ei_signal_reader get_data;
  size_t total_length;
} signal_t;

}  // namespace ei

using namespace ei;

#endif
