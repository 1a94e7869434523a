// What the two shims share: opening libmesos, finding its symbols, and the few layouts of stout that cross the border.
//
// libmesos was compiled with the C++11 ABI of GCC 5, which is the ABI of every g++ since; stout's Option and Try are
// plain aggregates of an int and a union, so that they can be declared again here.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>

// Data symbols of Python 2 that the package's binding refers to. Functions are bound lazily and never called; data must
// exist for the library to load at all.
extern "C" {
char _Py_NoneStruct[256];
void* PyExc_Exception;
void* PyExc_TypeError;
}

namespace libmesos {

constexpr int SOME = 0;  // stout's Option::State
constexpr int NONE = 1;

struct OptionString {
  int state;
  std::string value;
};

// Room for an object whose size only libmesos knows; the largest of those made here is below 6 KiB.
constexpr size_t ROOM = 64 * 1024;

inline void* room() {
  void* memory = calloc(1, ROOM);
  if (memory == nullptr) {
    fprintf(stderr, "out of memory\n");
    exit(2);
  }
  return memory;
}

inline void* open() {
  void* library = dlopen("libmesos.so", RTLD_LAZY | RTLD_GLOBAL);
  if (library == nullptr) {
    fprintf(stderr, "libmesos does not load: %s\n", dlerror());
    exit(2);
  }
  return library;
}

template <typename F>
F symbol(void* library, const char* name) {
  void* found = dlsym(library, name);
  if (found == nullptr) {
    fprintf(stderr, "libmesos lacks a symbol: %s\n", dlerror());
    exit(2);
  }
  return reinterpret_cast<F>(found);
}

// stout's Try<flags::Warnings>: an Option of the value, a vector of 24 bytes, and after it an Option of the error.
struct LoadResult {
  int state;
  char warnings[24];
  OptionString error;
};

inline void check(const void* memory) {
  const LoadResult* result = static_cast<const LoadResult*>(memory);
  if (result->state != SOME) {
    fprintf(stderr, "bad flags: %s\n", result->error.state == SOME ? result->error.value.c_str() : "no reason given");
    exit(1);
  }
}

}  // namespace libmesos
