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

class Node {
  enum Mode { NORMAL, EXCLUSIVE }

  Mode mode = Mode.NORMAL
  int numExecutors = 1
  String nodeName = ''
  String nodeDescription = ''
  Computer computer

  Computer toComputer() { return computer }
}

class Computer {
  String name
  boolean offline = true
  boolean idle = true
  boolean acceptingTasks = true
  List<Executor> executors = []
  long idleStartMilliseconds
}

class Executor {
  Computer owner
  Object currentExecutable
  Object currentWorkUnit
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

class Result {
  static final Result SUCCESS = new Result(name: 'SUCCESS')
  static final Result FAILURE = new Result(name: 'FAILURE')
  static final Result ABORTED = new Result(name: 'ABORTED')
  String name

  String toString() { return name }
}

class Cause {
  static class RemoteCause extends Cause {
    final String addr
    final String note

    RemoteCause(String host, String note) {
      addr = host
      this.note = note
    }
  }
}

class CauseAction implements Action {
  final List<Cause> causes
  final String iconFileName = null
  final String displayName = null
  final String urlName = null

  CauseAction(Cause... causes) { this.causes = causes as List }
}

class ParametersAction implements Action {
  final String iconFileName = null
  final String displayName = null
  final String urlName = null
}

class Run {
  static final Map<String, Run> ALL = [:].asSynchronized()
  Object parent
  int number
  String url
  long queueId
  Executor executor
  Object result
  long startTimeInMillis
  long duration
  boolean building
  File logFile
  List<Action> actions = []

  String getExternalizableId() {
    String id = "${parent.fullName}#${number}"
    ALL[id] = this
    return id
  }

  static Run fromExternalizableId(String id) { return ALL[id] }

  Action getAction(Class kind) { return actions.find { kind.isInstance(it) } }
}

class AbstractBuild extends Run {
  AbstractBuild getRootBuild() { return this }
}

class Queue {
  static class Task {
    String fullDisplayName
    String url
  }

  interface FlyweightTask {}

  static class Label {
    String expression
    Set<Node> nodes = []
  }

  static class Item {
    long id
    Task task
    Label assignedLabel
    long inQueueSince

    boolean isBuildable() { return false }
  }

  static class BuildableItem extends Item {
    boolean pending

    boolean isBuildable() { return true }
  }

  static class LeftItem extends Item {
    boolean cancelled
  }

  static final Queue instance = new Queue()
  final List<Item> waiting = [].asSynchronized()
  volatile int maintained

  Item getItem(long id) { return waiting.find { it.id == id } }

  void scheduleMaintenance() { maintained++ }

  /** Those that who asks may read. */
  Item[] getItems() { return ACL.CURRENT.get() == ACL.SYSTEM2 ? waiting as Item[] : new Item[0] }
}
