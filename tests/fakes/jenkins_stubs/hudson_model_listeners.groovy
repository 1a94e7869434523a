package hudson.model.listeners

import hudson.model.TaskListener

abstract class RunListener<R> {
  final Class<R> targetType

  protected RunListener(Class<R> targetType) { this.targetType = targetType }

  void onStarted(R run, TaskListener listener) {}

  void onFinalized(R run) {}
}
