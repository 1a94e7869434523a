// mesos-containerizer: libmesos' own `launch` sub-command, which the containerizer runs as the first process of each
// container. The other sub-commands (mount, network/cni/setup) belong to isolators that butlery does not turn on.
#include <cstring>
#include <new>

#include "libmesos.hpp"

namespace {

// mesos::internal::Subcommand, as far as it is called from here.
struct Subcommand {
  virtual ~Subcommand();
  virtual int execute() = 0;
  virtual void* getFlags() = 0;
};

constexpr size_t NAME_AT = 8;        // Subcommand::name_, right after the table of virtual functions
constexpr size_t FLAGS_AT = 0xe0;    // MesosContainerizerLaunch::flags, of the pinned build
constexpr size_t VTABLE_HEADER = 16;  // offset to top and type info stand before the first function

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || strcmp(argv[1], "launch") != 0) {
    fprintf(stderr, "usage: mesos-containerizer launch; its flags are environment variables MESOS_CONTAINERIZER_*\n");
    return 1;
  }
  void* library = libmesos::open();
  char* vtable = libmesos::symbol<char*>(library, "_ZTVN5mesos8internal5slave24MesosContainerizerLaunchE");
  auto construct_flags = libmesos::symbol<void (*)(void*)>(
      library, "_ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev");
  auto load = libmesos::symbol<void* (*)(void*, void*, const void*, int, const char* const*, bool, bool)>(
      library,
      "_ZN5flags9FlagsBase4loadERK6OptionINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEEiPKPKcbb");

  char* object = static_cast<char*>(libmesos::room());
  *reinterpret_cast<void**>(object) = vtable + VTABLE_HEADER;
  new (object + NAME_AT) std::string("launch");
  construct_flags(object + FLAGS_AT);
  Subcommand* launch = reinterpret_cast<Subcommand*>(object);

  libmesos::OptionString prefix{libmesos::SOME, "MESOS_CONTAINERIZER_"};
  void* result = libmesos::room();
  load(result, launch->getFlags(), &prefix, argc - 1, argv + 1, false, false);
  libmesos::check(result);
  return launch->execute();
}
