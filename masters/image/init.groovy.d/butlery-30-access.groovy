/*
 * How the scheduler speaks to this Jenkins: an API token of the user `butlery`, made once and kept where Jenkins keeps its
 * own secrets. It is handed over with the tenant's token at each start, and now and then, lest the scheduler forget.
 */
import java.nio.file.Files
import java.nio.file.StandardCopyOption
import java.nio.file.attribute.PosixFilePermissions
import java.util.logging.Level

import groovy.json.JsonOutput
import groovy.transform.CompileStatic
import hudson.model.User
import jenkins.model.Jenkins
import jenkins.security.ApiTokenProperty

class ButleryAccess implements Runnable {
  static final String USER = 'butlery'
  static final String NAME = "the scheduler's"
  static final long FIRST_PAUSE_MS = 500
  static final long LONGEST_PAUSE_MS = 60_000
  static final long AGAIN_MS = 1_800_000

  final def butlery
  final String body

  ButleryAccess(butlery) {
    this.butlery = butlery
    body = JsonOutput.toJson([
      url: butlery.rootUrl, direct_url: butlery.directUrl ?: null, user: USER, api_token: token(), version: Jenkins.VERSION,
      session: Jenkins.SESSION_HASH,
    ])
  }

  private static String token() {
    User user = User.getById(USER, true)
    ApiTokenProperty tokens = user.getProperty(ApiTokenProperty)
    if (tokens == null) {
      tokens = new ApiTokenProperty()
      user.addProperty(tokens)
    }
    File file = new File(Jenkins.get().rootDir, 'secrets/butlery-api-token')
    String kept = file.exists() ? file.getText('US-ASCII') : null
    if (kept && tokens.matchesPassword(kept)) return kept
    tokens.tokenStore.tokenListSortedByName.findAll { it.name == NAME }.each { tokens.tokenStore.revokeToken(it.uuid) }
    String made = tokens.tokenStore.generateNewToken(NAME).plainValue
    user.save()
    write(file, made)
    return made
  }

  @CompileStatic
  private static void write(File file, String text) {
    Files.createDirectories(file.parentFile.toPath())
    File fresh = new File(file.path + '.new')
    Files.deleteIfExists(fresh.toPath())
    Files.createFile(fresh.toPath(), PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString('rw-------')))
    fresh.setText(text, 'US-ASCII')
    Files.move(fresh.toPath(), file.toPath(), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING)
  }

  void run() {
    butlery.awaitJenkins()
    long pause = FIRST_PAUSE_MS
    String said = null
    while (true) {
      String problem = tell()
      if (problem != said) {
        if (problem) butlery.say(Level.WARNING, "the scheduler does not take how to speak to this Jenkins (${problem})")
        else butlery.say(Level.INFO, 'the scheduler knows how to speak to this Jenkins')
        said = problem
      }
      butlery.pause(problem ? pause : AGAIN_MS)
      pause = problem ? Math.min(pause * 2, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS
    }
  }

  /** What is in the way; empty where nothing is. */
  private String tell() {
    try {
      int status = butlery.send('PUT', "/v1/tenants/${butlery.tenant}/master", 'application/json', body).status
      return status >= 200 && status < 300 ? '' : "it answers ${status}"
    } catch (IOException e) {
      return e.class.simpleName
    }
  }
}

if (butlery.told) butlery.thread('access', new ButleryAccess(butlery))
else butlery.say(Level.WARNING, 'this Jenkins was told of no scheduler')
