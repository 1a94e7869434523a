/*
 * What administrators, the scheduler among them, ask of this Jenkins beside its own API:
 *
 *   POST /butlery/backup    name                      starts a backup of the home
 *   GET  /butlery/backups                             all of them, as JSON
 *   GET  /butlery/queue                               what is in the queue, with the labels that REST does not tell, and
 *                                                     the scheduler's nodes
 *   POST /butlery/tell      node, reason, resubmit    writes why an agent ended into the log of the build that ran on it,
 *                                                     and has a build that was lost built again
 */
import java.util.logging.Level

import groovy.json.JsonOutput
import hudson.model.AbstractBuild
import hudson.model.Cause
import hudson.model.CauseAction
import hudson.model.ParametersAction
import hudson.model.Queue
import hudson.model.Result
import hudson.model.RootAction
import hudson.model.Run
import jenkins.model.Jenkins
import org.kohsuke.stapler.HttpResponse
import org.kohsuke.stapler.HttpResponses
import org.kohsuke.stapler.QueryParameter
import org.kohsuke.stapler.interceptor.RequirePOST

class ButleryPage implements RootAction {
  static final String OURS = 'butlery-'
  static final int MAX_AGAIN = 2
  static final String AGAIN_BY = 'butlery' // who is named in the cause of a build that is built again
  static final int MAX_REASON = 500

  private final def butlery
  private final def backups
  private final def demand

  ButleryPage(butlery, backups, demand) {
    this.butlery = butlery
    this.backups = backups
    this.demand = demand
  }

  String getIconFileName() { return null }

  String getDisplayName() { return null }

  String getUrlName() { return 'butlery' }

  @RequirePOST
  HttpResponse doBackup(@QueryParameter('name') String name) {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    return backups.start(name)
  }

  HttpResponse doBackups() {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    return backups.list()
  }

  HttpResponse doQueue() {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    List<Map> nodes = Jenkins.get().nodes.findAll { it.nodeName.startsWith(OURS) }.collect {
      def computer = it.toComputer() // none for a moment, while the node is being made
      [name: it.nodeName, description: it.nodeDescription, offline: computer == null || computer.offline,
       idle: computer == null || computer.idle]
    }
    List<Map> items = Queue.instance.items.findAll { !(it.task instanceof Queue.FlyweightTask) }.collect {
      demand.told(it) + [buildable: demand.waits(it)]
    }
    return HttpResponses.text(JsonOutput.toJson([session: Jenkins.SESSION_HASH, items: items, nodes: nodes]))
  }

  /** 404 where nothing is known to have run there. */
  @RequirePOST
  HttpResponse doTell(@QueryParameter('node') String node, @QueryParameter('reason') String reason,
                      @QueryParameter('resubmit') boolean resubmit) {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    Run run = demand.ranOn(node)
    if (run == null) return HttpResponses.errorWithoutStack(404, 'no build of this node is known')
    String line = (reason ?: '').replaceAll(/\p{Cntrl}/, ' ').take(MAX_REASON)
    if (line) note(run, line)
    if (resubmit) again(run, line)
    return HttpResponses.text('')
  }

  private void note(Run run, String line) {
    try {
      butlery.note(run, line)
    } catch (Exception problem) { // the build's end does not hang on its log
      butlery.say(Level.INFO, "${run} cannot be told why it ended", problem)
    }
  }

  /** Pipelines are left alone: their scripts say what is to be tried again, with `retry`. */
  private void again(Run run, String reason) {
    if (!(run instanceof AbstractBuild) || !run.rootBuild.is(run)) return
    if (!run.building && run.result != Result.FAILURE) return // it was not lost, or somebody ended it
    List<Cause> causes = run.getAction(CauseAction)?.causes ?: []
    int number = causes.count { it instanceof Cause.RemoteCause && it.addr == AGAIN_BY }
    if (number >= MAX_AGAIN) {
      note(run, "lost ${number + 1} times now: it is not built again")
      return
    }
    // Causes are saved with builds, so this is one of Jenkins' own kinds; the earlier ones are kept, and so counted.
    String told = "#${run.number} was lost, ${number + 1} of at most ${MAX_AGAIN} times that it is built again: ${reason}"
    List actions = [new CauseAction((causes + new Cause.RemoteCause(AGAIN_BY, told)) as Cause[])]
    if (run.getAction(ParametersAction)) actions << run.getAction(ParametersAction)
    if (run.parent.scheduleBuild2(0, actions as hudson.model.Action[])) note(run, 'it is built again')
  }
}

def actions = Jenkins.get().actions
actions.removeAll(actions.findAll { it.urlName == 'butlery' })
actions.add(new ButleryPage(butlery, butleryBackups, butleryDemand))
