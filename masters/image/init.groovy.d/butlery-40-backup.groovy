/*
 * Backups of the home, for administrators, by the script `backup`: POST /butlery/backup?name=NAME starts one,
 * GET /butlery/backups tells of all, as JSON.
 */
import java.util.concurrent.TimeUnit

import hudson.model.RootAction
import jenkins.model.Jenkins
import org.kohsuke.stapler.HttpResponse
import org.kohsuke.stapler.HttpResponses
import org.kohsuke.stapler.QueryParameter
import org.kohsuke.stapler.interceptor.RequirePOST

class ButleryBackups implements RootAction {
  static final long LIST_MS = 30_000

  private final def butlery
  private Process running

  ButleryBackups(butlery) { this.butlery = butlery }

  String getIconFileName() { return null }

  String getDisplayName() { return null }

  String getUrlName() { return 'butlery' }

  /** 202 where it has begun. */
  @RequirePOST
  synchronized HttpResponse doBackup(@QueryParameter('name') String name) {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    if (!(name ==~ /[A-Za-z0-9][A-Za-z0-9._-]{0,99}/) || name.contains('..')) {
      return HttpResponses.errorWithoutStack(400, 'a backup has a name of letters, digits, and . _ - within')
    }
    if (!System.getenv('BUTLERY_BACKUP_TO')) return HttpResponses.errorWithoutStack(409, 'this tenant has no place for backups')
    if (running?.alive) return HttpResponses.errorWithoutStack(409, 'another backup runs')
    running = script(name).inheritIO().start()
    return HttpResponses.status(202)
  }

  HttpResponse doBackups() {
    Jenkins.get().checkPermission(Jenkins.ADMINISTER)
    if (!System.getenv('BUTLERY_BACKUP_TO')) return HttpResponses.text('[]')
    File told = File.createTempFile('backups', '.json', butlery.folder)
    try {
      Process listing = script('--list').redirectOutput(told).start()
      if (!listing.waitFor(LIST_MS, TimeUnit.MILLISECONDS)) listing.destroyForcibly()
      else if (listing.exitValue() == 0) return HttpResponses.text(told.getText('UTF-8'))
      return HttpResponses.errorWithoutStack(500, 'the backups cannot be listed')
    } finally {
      told.delete()
    }
  }

  private ProcessBuilder script(String argument) {
    ProcessBuilder made = new ProcessBuilder("${butlery.kit}/backup".toString(), argument)
    made.redirectError(ProcessBuilder.Redirect.INHERIT)
    return made
  }
}

def actions = Jenkins.get().actions
actions.removeAll(actions.findAll { it.urlName == 'butlery' })
actions.add(new ButleryBackups(butlery))
