package hudson.model.queue

import hudson.model.Node
import hudson.model.Queue

abstract class QueueListener {
  void onEnterBuildable(Queue.BuildableItem item) {}

  void onLeft(Queue.LeftItem item) {}
}

abstract class CauseOfBlockage {
  abstract String getShortDescription()
}

abstract class QueueTaskDispatcher {
  CauseOfBlockage canRun(Queue.Item item) { return null }

  CauseOfBlockage canTake(Node node, Queue.BuildableItem item) { return null }
}
