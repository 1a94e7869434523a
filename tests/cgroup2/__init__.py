"""The executor under cgroup v2, which the machine the tests run on may not have: a Debian 12 in an emulator."""
