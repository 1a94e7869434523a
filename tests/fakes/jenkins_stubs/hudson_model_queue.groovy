package hudson.model.queue

import hudson.model.Queue

abstract class QueueListener {
  void onEnterBuildable(Queue.BuildableItem item) {}

  void onLeft(Queue.LeftItem item) {}
}
