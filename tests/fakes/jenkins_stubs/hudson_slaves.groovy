package hudson.slaves

import hudson.model.Computer
import hudson.model.TaskListener

abstract class OfflineCause {}

abstract class ComputerListener {
  void onOnline(Computer computer, TaskListener listener) {}

  void onOffline(Computer computer, OfflineCause cause) {}
}
