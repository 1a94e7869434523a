package hudson.model

import hudson.security.ACL
import hudson.security.Permission

interface Action {
  String getIconFileName()
  String getDisplayName()
  String getUrlName()
}

interface RootAction extends Action {}

class Item {
  static final Permission READ = new Permission('Item.READ')
  static final Permission BUILD = new Permission('Item.BUILD')
  static final Permission CANCEL = new Permission('Item.CANCEL')
  static final Permission WORKSPACE = new Permission('Item.WORKSPACE')
}

class View {
  static final Permission READ = new Permission('View.READ')
}

class User {
  static final Map<String, User> ALL = [:].asSynchronized()
  final String id
  final Map<Class, Object> properties = [:]
  int saved = 0

  User(String id) { this.id = id }

  static User getById(String id, boolean create) { return create ? ALL.computeIfAbsent(id) { new User(id) } : ALL[id] }

  Object getProperty(Class kind) { return properties[kind] }

  void addProperty(Object property) { properties[property.class] = property }

  void save() { saved++ }
}

class Computer {
  String name
  boolean acceptingTasks = true
}

class Executor {
  Computer owner
}

interface ExecutorListener {
  void taskAccepted(Executor executor, Queue.Task task)
  void taskCompleted(Executor executor, Queue.Task task, long durationMS)
  void taskCompletedWithProblems(Executor executor, Queue.Task task, long durationMS, Throwable problems)
}

interface TaskListener {}

class Job {
  String fullName
}

class Run {
  Job parent
  int number
  String url
  long queueId
  Executor executor
  Object result
  long startTimeInMillis
  long duration
}

class Queue {
  static class Task {
    String fullDisplayName
    String url
  }

  static class Label {
    String expression
  }

  static class Item {
    long id
    Task task
    Label assignedLabel
    long inQueueSince

    boolean isBuildable() { return false }
  }

  static class BuildableItem extends Item {
    boolean isBuildable() { return true }
  }

  static class LeftItem extends Item {
    boolean cancelled
  }

  static final Queue instance = new Queue()
  final List<Item> waiting = [].asSynchronized()

  /** Those that who asks may read. */
  Item[] getItems() { return ACL.CURRENT.get() == ACL.SYSTEM2 ? waiting as Item[] : new Item[0] }
}
