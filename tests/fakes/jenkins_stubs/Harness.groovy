import groovy.json.JsonOutput
import jenkins.model.Jenkins

/** ``Harness DIRECTORY``: of the scripts. Says ``ready`` once they have run. */
class Harness {
  static void main(String[] arguments) {
    Binding binding = new Binding()
    new File(arguments[0]).listFiles().findAll { it.name.endsWith('.groovy') }.sort().each { script ->
      try {
        shell(binding).evaluate(new GroovyCodeSource(script))
      } catch (RuntimeException problem) { // which Jenkins only logs
        println "failed ${script.name} ${problem}"
      }
    }
    println 'ready'
    System.in.eachLine('UTF-8') { line ->
      Object value
      try {
        value = [value: shell(binding).evaluate(line)]
      } catch (Throwable problem) {
        value = [error: problem.toString()]
      }
      println JsonOutput.toJson(value)
    }
    System.exit(0)
  }

  private static GroovyShell shell(Binding binding) {
    return new GroovyShell(Jenkins.get().pluginManager.uberClassLoader, binding)
  }
}
