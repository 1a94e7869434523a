/*
 * Tells the scheduler of the queue and of builds, as they happen: REST tells neither the label of a Pipeline's node() step
 * nor anything without being asked.
 *
 * Listeners run while Jenkins holds the lock of its queue, so they only put a record into memory; one thread posts records
 * in order, and tries each until it is taken. It begins with `ready` and all items that are buildable; so it does again
 * where records were lost, or where the scheduler did not want them. Records are numbered within the process that tells
 * them. The answer names items that no agent will come for, and why, which the queue then shows.
 */
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.ThreadLocalRandom
import java.util.concurrent.TimeUnit
import java.util.logging.Level

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import hudson.model.Computer
import hudson.model.Executor
import hudson.model.ExecutorListener
import hudson.model.Node
import hudson.model.Queue
import hudson.model.Run
import hudson.model.TaskListener
import hudson.model.listeners.RunListener
import hudson.model.queue.CauseOfBlockage
import hudson.model.queue.QueueListener
import hudson.model.queue.QueueTaskDispatcher
import hudson.slaves.ComputerListener
import hudson.slaves.OfflineCause
import jenkins.model.Jenkins

class ButleryDemand implements Runnable {
  static final int ROOM = 10_000
  static final int BATCH = 500
  static final int REMEMBERED = 2000
  // Between two posts: the first record goes at once, those right after it go together. Chosen anew for each post, as
  // masters that are answered in one moment would otherwise all come back in one.
  static long GAP_MS = 150
  static long LONGEST_GAP_MS = 300
  static long ALIVE_MS = 30_000
  static long FIRST_PAUSE_MS = 200
  static long LONGEST_PAUSE_MS = 30_000
  static long QUIET_MS = 300_000

  final ButleryUnserved unserved
  private final def butlery
  private final LinkedBlockingQueue<Map> records = new LinkedBlockingQueue<>(ROOM)
  private final Map<String, Object> ran = [:] // by node, the oldest first: the id of a build, or a Pipeline's task
  private volatile boolean lost = true // what was put here since is not all that happened
  private long seq
  private long postedAt = millis() - ALIVE_MS
  private String said = ''

  ButleryDemand(butlery) {
    this.butlery = butlery
    unserved = new ButleryUnserved(butlery)
  }

  /** Returns at once, whatever becomes of the record. */
  void put(Map record) {
    record.sent_ms = System.currentTimeMillis()
    if (!records.offer(record)) lost = true
  }

  /** What is told of an item of the queue. */
  static Map told(Queue.Item item) {
    return [item: item.id, task: item.task.fullDisplayName, task_url: item.task.url,
            label: item.assignedLabel?.expression, in_queue_since_ms: item.inQueueSince, fits: true]
  }

  /** Whether an agent is all that the item waits for. */
  boolean waits(Queue.Item item) {
    if (item.task instanceof Queue.FlyweightTask) return false // it runs on the master itself
    if (item instanceof Queue.BuildableItem) return !item.pending
    return unserved.blocks(item)
  }

  synchronized void note(String node, Object what) {
    ran.remove(node)
    ran[node] = what
    if (ran.size() > REMEMBERED) ran.remove(ran.keySet().first())
  }

  /** The build that runs, or ran last, on a node of ours; null where none is known. */
  Run ranOn(String node) {
    def what
    synchronized (this) { what = ran[node] }
    if (what == null) { // it began before this process of Jenkins did
      what = Jenkins.get().getComputer(node)?.executors?.collect { it.currentExecutable }?.find { it != null }
      if (what != null && !(what instanceof Run)) what = what.parent
    }
    if (what instanceof String) return Run.fromExternalizableId(what)
    if (what == null || what instanceof Run) return what
    return what.metaClass.respondsTo(what, 'runForDisplay') ? what.runForDisplay() : null // a Pipeline's node step
  }

  void run() {
    butlery.awaitJenkins()
    while (true) deliver(lost ? announced() : taken())
  }

  private static long millis() { return System.nanoTime().intdiv(1_000_000) }

  private List<Map> taken() {
    Map first = records.poll(1, TimeUnit.SECONDS)
    if (first == null) {
      if (millis() - postedAt < ALIVE_MS) return []
      return [[event: 'alive', sent_ms: System.currentTimeMillis()]]
    }
    long early = postedAt + ThreadLocalRandom.current().nextLong(GAP_MS, LONGEST_GAP_MS + 1) - millis()
    if (early > 0) Thread.sleep(early)
    List<Map> batch = [first]
    records.drainTo(batch, BATCH - 1)
    return batch
  }

  /** All that is to be known now; what happens from here on is in the records after it. */
  private List<Map> announced() {
    lost = false
    records.clear()
    long now = System.currentTimeMillis()
    List<Map> all = [[event: 'ready', version: Jenkins.VERSION, sent_ms: now]]
    Queue.instance.items.each { if (waits(it)) all << [event: 'buildable', sent_ms: now] + told(it) }
    return all
  }

  private void deliver(List<Map> batch) {
    batch.each {
      it.session = Jenkins.SESSION_HASH
      it.seq = ++seq
    }
    for (List<Map> part : batch.collate(BATCH)) {
      long pause = FIRST_PAUSE_MS
      def answer
      while ((answer = post(part)) == null || answer.status >= 300) {
        if (answer?.status in [404, 405]) { // a scheduler that does not know of demand
          lost = true
          butlery.pause(QUIET_MS)
          return
        }
        if (answer?.status in [400, 413, 422]) { // it would be refused again
          lost = true
          butlery.pause(LONGEST_PAUSE_MS)
          return
        }
        if (answer?.waitMs) Thread.sleep(answer.waitMs)
        butlery.pause(pause)
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
        if (lost) return
      }
      understand(answer.text)
    }
  }

  /** Null where there is no answer. */
  private post(List<Map> part) {
    def answer = null
    String problem = ''
    postedAt = millis()
    try {
      String lines = part.collect { JsonOutput.toJson(it) + '\n' }.join('')
      answer = butlery.send('POST', '/v1/demand', 'application/x-ndjson', lines)
      if (answer.status >= 300 && answer.status != 404) problem = "it answers ${answer.status}"
    } catch (IOException e) {
      problem = e.class.simpleName
    }
    if (problem != said) {
      if (problem) butlery.say(Level.WARNING, "the scheduler does not take demand (${problem})")
      said = problem
    }
    return answer
  }

  private void understand(String text) {
    try {
      List told = text ? new JsonSlurper().parseText(text).unserved : null
      if (told) unserved.show(told)
    } catch (Exception problem) { // of another scheduler's answers; what was told is taken all the same
      butlery.say(Level.FINE, 'the answer to demand is not understood', problem)
    }
  }
}

/** Shows why no agent comes for an item, where Jenkins itself could only say that there is no node. */
class ButleryUnserved extends QueueTaskDispatcher {
  static long SHOWN_MS = 60_000 // then the item is told of again, and what it is answered shown again

  private final def butlery
  private final Map<Long, Map> shown = new ConcurrentHashMap<>()

  ButleryUnserved(butlery) { this.butlery = butlery }

  void show(List<Map> told) {
    shown.keySet().removeAll { !inQueue(it) }
    long until = System.currentTimeMillis() + SHOWN_MS
    for (Map one : told) {
      Queue.Item item = Queue.instance.getItem(one.item.number as long)
      if (item == null || item.inQueueSince != one.item.since_ms || item instanceof Queue.LeftItem) continue
      Map before = shown.put(item.id, [reason: one.reason, since: item.inQueueSince, until: until])
      if (before?.reason != one.reason) log(item, one.reason)
    }
    Queue.instance.scheduleMaintenance()
  }

  private static boolean inQueue(long number) {
    Queue.Item item = Queue.instance.getItem(number)
    return item != null && !(item instanceof Queue.LeftItem)
  }

  /** Into the log of the Pipeline whose step waits. */
  private void log(Queue.Item item, String reason) {
    try {
      Run run = item.task.metaClass.respondsTo(item.task, 'runForDisplay') ? item.task.runForDisplay() : null
      if (run != null) butlery.note(run, "no agent comes: ${reason}")
    } catch (Exception problem) { // the queue shows it in any case
      butlery.say(Level.FINE, "a Pipeline cannot be told what it waits for", problem)
    }
  }

  boolean blocks(Queue.Item item) { return reason(item) != null }

  /** Asked while Jenkins holds the lock of its queue. */
  CauseOfBlockage canRun(Queue.Item item) {
    String reason = reason(item)
    return reason == null ? null : new ButleryReason(reason)
  }

  private String reason(Queue.Item item) {
    Map found = shown[item.id]
    if (found == null || found.since != item.inQueueSince || found.until < System.currentTimeMillis()) return null
    return nodes(item).any { it.numExecutors > 0 } ? null : found.reason
  }

  private static Collection<Node> nodes(Queue.Item item) {
    if (item.assignedLabel != null) return item.assignedLabel.nodes
    return ([Jenkins.get()] + Jenkins.get().nodes).findAll { it.mode == Node.Mode.NORMAL }
  }
}

class ButleryReason extends CauseOfBlockage {
  private final String reason

  ButleryReason(String reason) { this.reason = reason }

  String getShortDescription() { return reason }
}

/** Keeps an agent of one job's size for the builds of that job: another's might need more. */
class ButleryFitting extends QueueTaskDispatcher {
  static final String MARK = ', sized for '
  static long PATIENCE_MS = 60_000 // then it takes whatever there is: its job may be called otherwise by now

  /** Asked while Jenkins holds the lock of its queue. */
  CauseOfBlockage canTake(Node node, Queue.BuildableItem item) {
    if (!node.nodeName.startsWith(ButleryAgents.OURS)) return null
    String said = node.nodeDescription ?: ''
    int mark = said.indexOf(MARK)
    if (mark < 0 || said.substring(mark + MARK.size()) == job(item.task.fullDisplayName)) return null
    Long idleSince = node.toComputer()?.idleStartMilliseconds
    if (idleSince != null && idleSince < System.currentTimeMillis() - PATIENCE_MS) return null
    return new ButleryReason("${node.nodeName} is sized for ${said.substring(mark + MARK.size())}")
  }

  /** Of a Pipeline's part, the Pipeline. */
  static String job(String task) {
    def part = task =~ /(?s)\Apart of (.+?)(?: #\d+)?\z/
    return part ? part.group(1) : task
  }
}

class ButleryQueue extends QueueListener {
  private final ButleryDemand demand

  ButleryQueue(ButleryDemand demand) { this.demand = demand }

  void onEnterBuildable(Queue.BuildableItem item) {
    if (demand.waits(item)) demand.put([event: 'buildable'] + demand.told(item))
  }

  void onLeft(Queue.LeftItem item) { demand.put([event: 'left', cancelled: item.isCancelled()] + demand.told(item)) }
}

class ButleryRuns extends RunListener<Run> {
  private final ButleryDemand demand

  ButleryRuns(ButleryDemand demand) {
    super(Run)
    this.demand = demand
  }

  private static Map told(Run run) {
    return [job: run.parent.fullName, build: run.number, url: run.url, queue_item: run.queueId,
            node: run.executor?.owner?.name]
  }

  void onStarted(Run run, TaskListener listener) {
    String node = run.executor?.owner?.name
    if (node?.startsWith(ButleryAgents.OURS)) demand.note(node, run.externalizableId)
    demand.put([event: 'started', started_ms: run.startTimeInMillis] + told(run))
  }

  void onFinalized(Run run) {
    demand.put([event: 'finished', result: run.result?.toString(), duration_ms: run.duration] + told(run))
  }
}

/** One build an agent: a node of ours takes no second task, but where it is pooled, and its end is told at once. */
class ButleryAgents extends ComputerListener implements ExecutorListener {
  static final String OURS = 'butlery-'
  static final String POOLED = '-pooled'
  private final ButleryDemand demand

  ButleryAgents(ButleryDemand demand) { this.demand = demand }

  void taskAccepted(Executor executor, Queue.Task task) {
    String node = executor.owner?.name
    if (!node?.startsWith(OURS)) return
    if (!node.endsWith(POOLED)) executor.owner.acceptingTasks = false
    demand.note(node, task) // a freestyle build takes this place when it starts
    demand.put([event: 'accepted', node: node, task: task.fullDisplayName, task_url: task.url] + item(executor))
  }

  /** Which item it was, as far as Jenkins tells: classes of its scheduler, which it may change. */
  private static Map item(Executor executor) {
    try {
      Queue.Item item = executor.currentWorkUnit?.context?.item
      return item == null ? [:] : [item: item.id, in_queue_since_ms: item.inQueueSince]
    } catch (Exception ignored) {
      return [:]
    }
  }

  void taskCompleted(Executor executor, Queue.Task task, long durationMs) { ended(executor, task, durationMs, null) }

  void taskCompletedWithProblems(Executor executor, Queue.Task task, long durationMs, Throwable problem) {
    ended(executor, task, durationMs, problem.toString())
  }

  private void ended(Executor executor, Queue.Task task, long durationMs, String problem) {
    String node = executor.owner?.name
    if (!node?.startsWith(OURS)) return
    demand.put([event: 'served', node: node, task: task.fullDisplayName, duration_ms: durationMs, problem: problem])
  }

  void onOnline(Computer computer, TaskListener listener) {
    if (computer.name?.startsWith(OURS)) demand.put([event: 'online', node: computer.name])
  }

  void onOffline(Computer computer, OfflineCause cause) {
    if (computer.name?.startsWith(OURS)) {
      demand.put([event: 'offline', node: computer.name, cause: cause?.toString() ?: ''])
    }
  }
}

butleryDemand = new ButleryDemand(butlery)
if (butlery.told) {
  def jenkins = Jenkins.get()
  def agents = new ButleryAgents(butleryDemand)
  jenkins.getExtensionList(QueueListener).add(0, new ButleryQueue(butleryDemand))
  jenkins.getExtensionList(RunListener).add(0, new ButleryRuns(butleryDemand))
  jenkins.getExtensionList(ExecutorListener).add(0, agents)
  jenkins.getExtensionList(ComputerListener).add(0, agents)
  jenkins.getExtensionList(QueueTaskDispatcher).addAll(0, [butleryDemand.unserved, new ButleryFitting()])
  butlery.thread('demand', butleryDemand)
}
