import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpHandler
import com.sun.net.httpserver.HttpServer
import groovy.transform.CompileDynamic
import groovy.transform.CompileStatic
import hudson.init.InitMilestone
import hudson.model.User
import java.util.concurrent.Executors
import jenkins.model.Jenkins
import jenkins.security.ApiTokenProperty

/**
 * In the place of jenkins.war: serves as one does while it starts, runs the init scripts of its home, and then answers
 * /login to everyone and the actions that were added to it to the users whom they gave a token.
 */
@CompileStatic
class War implements HttpHandler {
  String prefix = ''
  volatile boolean up = false

  static void main(String[] arguments) {
    War war = new War()
    int port = 0
    for (String argument : arguments) {
      if (argument.startsWith('--httpPort=')) port = argument.substring(11).toInteger()
      if (argument.startsWith('--prefix=')) war.prefix = argument.substring(9)
    }
    HttpServer server = HttpServer.create(new InetSocketAddress(port), 0)
    server.setExecutor(Executors.newCachedThreadPool())
    server.createContext('/', war)
    server.start()
    war.boot()
  }

  @CompileDynamic
  private void boot() {
    Binding binding = new Binding()
    new File(Jenkins.get().rootDir, 'init.groovy.d').listFiles().sort().each { script ->
      new GroovyShell(War.classLoader, binding).evaluate(new GroovyCodeSource(script))
    }
    Jenkins.get().initLevel = InitMilestone.COMPLETED
    up = true
  }

  void handle(HttpExchange exchange) {
    try {
      String path = exchange.requestURI.path
      if (!up) {
        answer(exchange, 503, 'Starting Jenkins')
        return
      }
      exchange.responseHeaders.add('X-Jenkins', Jenkins.VERSION)
      exchange.responseHeaders.add('X-Jenkins-Session', Jenkins.SESSION_HASH)
      if (path == prefix + '/login') answer(exchange, 200, 'Sign in')
      else if (path.startsWith(prefix + '/butlery/')) acted(exchange, path.substring(prefix.length() + 9))
      else answer(exchange, 404, '')
    } finally {
      exchange.close()
    }
  }

  @CompileDynamic
  private void acted(HttpExchange exchange, String name) {
    String given = exchange.requestHeaders.getFirst('Authorization') ?: ''
    List<String> pair = new String(given.replace('Basic ', '').decodeBase64(), 'UTF-8').split(':', 2) as List
    User user = User.getById(pair[0], false)
    if (!user?.getProperty(ApiTokenProperty)?.matchesPassword(pair[1])) {
      answer(exchange, 403, '')
      return
    }
    def action = Jenkins.get().actions.find { it.urlName == 'butlery' }
    String query = exchange.requestURI.query
    def told = name == 'backup' ? action.doBackup(query?.replace('name=', '')) : action.doBackups()
    answer(exchange, told.status, told.text ?: '')
  }

  private static void answer(HttpExchange exchange, int status, String text) {
    byte[] body = text.getBytes('UTF-8')
    exchange.sendResponseHeaders(status, body.length == 0 ? -1L : (long) body.length)
    if (body.length > 0) exchange.responseBody.write(body)
  }
}
