// mesos-local: one Mesos master and several Mesos agents in one process, by libmesos' own mesos::internal::local::launch.
//
// Flags are MESOS_* environment variables, as on a real cluster. local::launch reads the same environment for every
// agent; agents that differ are had through a documented feature of Mesos' flags: a value "file://PATH" is read from
// that file. The paths below /butlery-host/ do not exist: fopen is answered here, with the value of the agent whose
// flags are being loaded. Flags are loaded in the order of their names, agent by agent, so "attributes" is the first
// of an agent's and moves on to the next one.
//
// BUTLERY_HOSTS names a file with a line per agent: hostname, attributes, cgroups_root, resources, parted by tabs.
#include <cstring>
#include <fstream>
#include <sstream>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include "libmesos.hpp"

namespace {

struct Host {
  std::string hostname, attributes, cgroups_root, resources;
};

const char PREFIX[] = "/butlery-host/";
std::vector<Host> hosts;
int loading = -1;  // index of the agent whose flags are being loaded; -1 while the master's are

// Only the main thread loads flags, so this needs no lock.
std::string flag(const std::string& name) {
  if (name == "attributes" && ++loading >= static_cast<int>(hosts.size())) {
    fprintf(stderr, "more agents than lines in BUTLERY_HOSTS\n");
    exit(2);
  }
  if (loading < 0) return "localhost";  // the master's hostname, the one of these flags that it has too
  const Host& host = hosts[loading];
  if (name == "attributes") return host.attributes;
  if (name == "cgroups_root") return host.cgroups_root;
  if (name == "hostname") return host.hostname;
  if (name == "resources") return host.resources;
  fprintf(stderr, "no such host flag: %s\n", name.c_str());
  exit(2);
}

void read_hosts() {
  const char* path = getenv("BUTLERY_HOSTS");
  std::ifstream file(path != nullptr ? path : "");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    Host host;
    std::getline(fields, host.hostname, '\t');
    std::getline(fields, host.attributes, '\t');
    std::getline(fields, host.cgroups_root, '\t');
    std::getline(fields, host.resources, '\t');
    hosts.push_back(host);
  }
  if (hosts.empty()) {
    fprintf(stderr, "BUTLERY_HOSTS names no file with hosts\n");
    exit(2);
  }
}

// Each agent, executor and client holds sockets; the usual soft limit of 1024 is too few for hundreds of agents.
void raise_limit_of_files() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t enough = 65536;
  if (limit.rlim_cur >= enough) return;
  limit.rlim_cur = limit.rlim_max < enough ? limit.rlim_max : enough;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The bases of local::Flags in libmesos, declared so that the compiler finds the virtual base as libmesos lays it out.
struct FlagsBase {
  virtual ~FlagsBase() {}
};
struct LoggingFlags : virtual FlagsBase {};
struct LocalFlags : virtual LoggingFlags {};

}  // namespace

extern "C" FILE* fopen(const char* path, const char* mode) {
  using Fopen = FILE* (*)(const char*, const char*);
  static Fopen real = reinterpret_cast<Fopen>(dlsym(RTLD_NEXT, "fopen"));
  if (strncmp(path, PREFIX, strlen(PREFIX)) != 0) return real(path, mode);
  std::string value = flag(path + strlen(PREFIX));
  FILE* file = tmpfile();
  if (file != nullptr) {
    fwrite(value.data(), 1, value.size(), file);
    rewind(file);
  }
  return file;
}

int main() {
  raise_limit_of_files();
  read_hosts();
  setenv("MESOS_NUM_SLAVES", std::to_string(hosts.size()).c_str(), 1);
  for (const char* name : {"attributes", "cgroups_root", "hostname", "resources"}) {
    std::string variable = std::string("MESOS_") + name;
    for (char& letter : variable) letter = static_cast<char>(toupper(letter));
    setenv(variable.c_str(), (std::string("file://") + PREFIX + name).c_str(), 1);
  }

  void* library = libmesos::open();
  using Option = libmesos::OptionString;
  auto initialize = libmesos::symbol<bool (*)(const Option&, const Option&, const Option&)>(
      library,
      "_ZN7process10initializeERK6OptionINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEES9_S9_");
  auto construct_flags = libmesos::symbol<void (*)(void*)>(library, "_ZN5mesos8internal5local5FlagsC1Ev");
  auto load = libmesos::symbol<void* (*)(void*, void*, const std::string&)>(
      library, "_ZN5flags9FlagsBase4loadERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE");
  auto launch = libmesos::symbol<void* (*)(void*, const void*, void*)>(
      library, "_ZN5mesos8internal5local6launchERKNS1_5FlagsEPNS_9allocator9AllocatorE");

  // Requests without a process' name in their path go to the master; this must come before anything else starts
  // libprocess, else /api/v1/scheduler is a 404.
  initialize(Option{libmesos::SOME, "master"}, Option{libmesos::NONE, ""}, Option{libmesos::NONE, ""});

  void* flags = libmesos::room();
  construct_flags(flags);
  FlagsBase* base = static_cast<FlagsBase*>(static_cast<LocalFlags*>(flags));
  void* result = libmesos::room();
  load(result, base, "MESOS_");
  libmesos::check(result);

  launch(libmesos::room(), flags, nullptr);
  for (;;) pause();
}
