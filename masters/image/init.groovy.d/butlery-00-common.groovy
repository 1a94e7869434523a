/*
 * What the scripts beside this one share, by the binding that Jenkins gives all init scripts: `butlery`.
 * The scripts need no plugin, and run on Groovy 2.4. What calls classes that Java keeps to itself, such as that of a
 * connection, is compiled statically: from Java 16 on Groovy may not look into them.
 */
import java.util.concurrent.ThreadLocalRandom
import java.util.logging.Level
import java.util.logging.Logger

import groovy.transform.CompileStatic
import hudson.init.InitMilestone
import hudson.model.Run
import hudson.security.ACL
import jenkins.model.Jenkins

class Butlery {
  static final int CONNECT_MS = 5000
  static final int READ_MS = 10000
  static final int ANSWER_BYTES = 1 << 20
  static final long LONGEST_WAIT_S = 300

  final String tenant = System.getenv('BUTLERY_TENANT')
  final String scheduler = System.getenv('BUTLERY_SCHEDULER_URL')
  final String rootUrl = System.getenv('BUTLERY_ROOT_URL') ?: direct(System.getenv('HOST') ?: 'localhost') ?:
    Jenkins.get().rootUrl // of a Jenkins that Butlery did not start
  /** Of this process itself, wherever the other leads; empty where nobody tells. */
  final String directUrl = direct(System.getenv('HOST'))
  final String kit = System.getenv('BUTLERY_KIT')
  final File folder = new File(Jenkins.get().rootDir, '.butlery')
  private final String token = handed('tenant-token')

  private static String direct(String host) {
    String port = System.getenv('PORT0')
    return host && port ? "http://${host}:${port}${System.getenv('BUTLERY_PATH') ?: ''}/" : ''
  }

  /** What the start script took from the environment; null where it was not given. */
  String handed(String name) {
    File file = new File(folder, "handed/${name}")
    return file.isFile() ? file.getText('UTF-8') : null
  }

  /** In Jenkins' log. */
  static void say(Level level, String text, Throwable problem = null) {
    Logger.getLogger('butlery').logp(level, 'butlery', '', text, problem)
  }

  boolean isTold() { return scheduler && token }

  /** What the scheduler answered: text where it took what was sent, and for how long it wants to be left alone. */
  static class Answer {
    int status
    String text = ''
    long waitMs
  }

  /** Throws IOException. What was sent and answered is never logged. */
  @CompileStatic
  Answer send(String method, String path, String type, String body) {
    HttpURLConnection connection = (HttpURLConnection) new URL(scheduler + path).openConnection()
    connection.requestMethod = method
    connection.connectTimeout = CONNECT_MS
    connection.readTimeout = READ_MS
    connection.instanceFollowRedirects = false // the token is for the scheduler alone
    connection.doOutput = true
    connection.setRequestProperty('Content-Type', type)
    connection.setRequestProperty('Authorization', 'Bearer ' + token)
    try {
      connection.outputStream.write(body.getBytes('UTF-8'))
      Answer answer = new Answer(status: connection.responseCode)
      InputStream stream = answer.status < 400 ? connection.inputStream : connection.errorStream
      String text = stream == null ? '' : new String(stream.readNBytes(ANSWER_BYTES), 'UTF-8')
      stream?.close() // Java keeps the connection for what is sent next, as all of the answer was read
      if (answer.status < 300) answer.text = text
      String wait = connection.getHeaderField('Retry-After')
      if (wait ==~ /[0-9]{1,9}/) answer.waitMs = Math.min(Long.parseLong(wait), LONGEST_WAIT_S) * 1000
      return answer
    } catch (IOException problem) {
      connection.disconnect()
      throw problem
    }
  }

  /** A line into the log of a build, also of one that has ended. Throws IOException. */
  static void note(Run run, String text) {
    String line = "[butlery] ${text}"
    if (run.metaClass.respondsTo(run, 'asFlowExecutionOwner')) { // a Pipeline's, whose log is kept by a plugin
      run.asFlowExecutionOwner().listener.logger.println(line)
    } else { // which Jenkins itself only appends to
      new FileOutputStream(run.logFile, true).withCloseable { it.write((line + '\n').getBytes('UTF-8')) }
    }
  }

  /** A thread that keeps nothing from ending. It is Jenkins itself: as anonymous it would be shown an empty queue. */
  static void thread(String name, Runnable work) {
    Runnable allowed = {
      ACL.as2(ACL.SYSTEM2)
      work.run()
    }
    Thread made = new Thread(allowed, "butlery-${name}")
    made.daemon = true
    made.start()
  }

  /** Returns once Jenkins serves requests: before, nobody could come back on what it is told. */
  static void awaitJenkins() {
    while (Jenkins.get().initLevel != InitMilestone.COMPLETED) Thread.sleep(200)
  }

  /** Sleeps between half of that and all of it. */
  static void pause(long ms) {
    Thread.sleep(ThreadLocalRandom.current().nextLong(ms.intdiv(2), ms + 1))
  }
}

butlery = new Butlery()
