/*
 * Backups of the home, by the script `backup`.
 */
import java.util.concurrent.TimeUnit

import org.kohsuke.stapler.HttpResponse
import org.kohsuke.stapler.HttpResponses

class ButleryBackups {
  static final long LIST_MS = 30_000

  private final def butlery
  private Process running

  ButleryBackups(butlery) { this.butlery = butlery }

  /** 202 where it has begun. */
  synchronized HttpResponse start(String name) {
    if (!(name ==~ /[A-Za-z0-9][A-Za-z0-9._-]{0,99}/) || name.contains('..')) {
      return HttpResponses.errorWithoutStack(400, 'a backup has a name of letters, digits, and . _ - within')
    }
    if (!System.getenv('BUTLERY_BACKUP_TO')) return HttpResponses.errorWithoutStack(409, 'this tenant has no place for backups')
    if (running?.alive) return HttpResponses.errorWithoutStack(409, 'another backup runs')
    running = script(name).inheritIO().start()
    return HttpResponses.status(202)
  }

  /** As JSON. */
  HttpResponse list() {
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

butleryBackups = new ButleryBackups(butlery)
