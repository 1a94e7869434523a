/*
 * Tells the scheduler of the queue and of builds, as they happen: REST tells neither the label of a Pipeline's node() step
 * nor anything without being asked.
 *
 * Listeners run while Jenkins holds the lock of its queue, so they only put a record into memory; one thread posts records
 * in order, and tries each until it is taken. It begins with `ready` and all items that are buildable; so it does again
 * where records were lost, or where the scheduler did not want them.
 */
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.logging.Level

import groovy.json.JsonOutput
import hudson.model.Executor
import hudson.model.ExecutorListener
import hudson.model.Queue
import hudson.model.Run
import hudson.model.TaskListener
import hudson.model.listeners.RunListener
import hudson.model.queue.QueueListener
import jenkins.model.Jenkins

class ButleryDemand implements Runnable {
  static final int ROOM = 10_000
  static final int BATCH = 500
  static long FIRST_PAUSE_MS = 200
  static long LONGEST_PAUSE_MS = 30_000
  static long QUIET_MS = 300_000

  private final def butlery
  private final LinkedBlockingQueue<Map> records = new LinkedBlockingQueue<>(ROOM)
  private volatile boolean lost = true // what was put here since is not all that happened
  private String said = ''

  ButleryDemand(butlery) { this.butlery = butlery }

  /** Returns at once, whatever becomes of the record. */
  void put(Map record) {
    record.sent_ms = System.currentTimeMillis()
    if (!records.offer(record)) lost = true
  }

  void run() {
    butlery.awaitJenkins()
    while (true) deliver(lost ? announced() : taken())
  }

  private List<Map> taken() {
    Map first = records.poll(1, TimeUnit.SECONDS)
    if (first == null) return []
    List<Map> batch = [first]
    records.drainTo(batch, BATCH - 1)
    return batch
  }

  /** All that is to be known now; what happens from here on is in the records after it. */
  private List<Map> announced() {
    lost = false
    records.clear()
    long now = System.currentTimeMillis()
    List<Map> all = [[event: 'ready', version: Jenkins.VERSION, session: Jenkins.SESSION_HASH, sent_ms: now]]
    Queue.instance.items.each { if (it.isBuildable()) all << [event: 'buildable', sent_ms: now] + ButleryQueue.told(it) }
    return all
  }

  private void deliver(List<Map> batch) {
    for (List<Map> part : batch.collate(BATCH)) {
      long pause = FIRST_PAUSE_MS
      int status
      while ((status = post(part)) < 200 || status >= 300) {
        if (status == 404 || status == 405) { // a scheduler that does not know of demand
          lost = true
          butlery.pause(QUIET_MS)
          return
        }
        if (status in [400, 413, 422]) { // it would be refused again
          lost = true
          butlery.pause(LONGEST_PAUSE_MS)
          return
        }
        butlery.pause(pause)
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
        if (lost) return
      }
    }
  }

  private int post(List<Map> part) {
    int status = 0
    String problem = ''
    try {
      String lines = part.collect { JsonOutput.toJson(it) + '\n' }.join('')
      status = butlery.send('POST', '/v1/demand', 'application/x-ndjson', lines)
      if (status >= 300 && status != 404) problem = "it answers ${status}"
    } catch (IOException e) {
      problem = e.class.simpleName
    }
    if (problem != said) {
      if (problem) butlery.say(Level.WARNING, "the scheduler does not take demand (${problem})")
      said = problem
    }
    return status
  }
}

class ButleryQueue extends QueueListener {
  private final ButleryDemand demand

  ButleryQueue(ButleryDemand demand) { this.demand = demand }

  static Map told(Queue.Item item) {
    return [item: item.id, task: item.task.fullDisplayName, task_url: item.task.url,
            label: item.assignedLabel?.expression, in_queue_since_ms: item.inQueueSince]
  }

  void onEnterBuildable(Queue.BuildableItem item) { demand.put([event: 'buildable'] + told(item)) }

  void onLeft(Queue.LeftItem item) { demand.put([event: 'left', cancelled: item.isCancelled()] + told(item)) }
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
    demand.put([event: 'started', started_ms: run.startTimeInMillis] + told(run))
  }

  void onFinalized(Run run) {
    demand.put([event: 'finished', result: run.result?.toString(), duration_ms: run.duration] + told(run))
  }
}

/** One build an agent: a node of ours takes no second task, and its end is told at once. */
class ButleryOneBuild implements ExecutorListener {
  static final String OURS = 'butlery-'
  private final ButleryDemand demand

  ButleryOneBuild(ButleryDemand demand) { this.demand = demand }

  void taskAccepted(Executor executor, Queue.Task task) {
    String node = executor.owner?.name
    if (!node?.startsWith(OURS)) return
    executor.owner.acceptingTasks = false
    demand.put([event: 'accepted', node: node, task: task.fullDisplayName, task_url: task.url])
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
}

if (butlery.told) {
  def jenkins = Jenkins.get()
  def demand = new ButleryDemand(butlery)
  jenkins.getExtensionList(QueueListener).add(0, new ButleryQueue(demand))
  jenkins.getExtensionList(RunListener).add(0, new ButleryRuns(demand))
  jenkins.getExtensionList(ExecutorListener).add(0, new ButleryOneBuild(demand))
  butlery.thread('demand', demand)
}
