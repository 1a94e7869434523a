package jenkins.model

import hudson.init.InitMilestone
import hudson.model.Computer
import hudson.model.Node
import hudson.security.AuthorizationStrategy
import hudson.security.Permission
import hudson.security.SecurityRealm
import java.util.concurrent.CopyOnWriteArrayList

class Jenkins extends Node {
  static String VERSION = '2.463'
  static String SESSION_HASH = 'bd191592'
  static final Permission ADMINISTER = new Permission('Jenkins.ADMINISTER')
  static final Permission READ = new Permission('Jenkins.READ')
  private static final Jenkins ONE = new Jenkins()

  static class PluginManager {
    ClassLoader uberClassLoader = Jenkins.classLoader
  }

  final PluginManager pluginManager = new PluginManager()
  final List actions = new CopyOnWriteArrayList()
  final List<String> checked = [].asSynchronized()
  private final Map<Class, List> extensions = [:].asSynchronized()
  volatile InitMilestone initLevel = InitMilestone.JOB_CONFIG_ADAPTED
  final List<Node> nodes = []
  final Map<String, Computer> computers = [:]
  int saved = 0
  SecurityRealm securityRealm = SecurityRealm.NO_AUTHENTICATION
  AuthorizationStrategy authorizationStrategy = AuthorizationStrategy.UNSECURED

  Jenkins() { numExecutors = 2 }

  Computer getComputer(String name) { return computers[name] }

  static Jenkins get() { return ONE }

  String getRootUrl() { return JenkinsLocationConfiguration.get().url }

  File getRootDir() { return new File(System.getenv('JENKINS_HOME')) }

  List getExtensionList(Class kind) { return extensions.computeIfAbsent(kind) { new CopyOnWriteArrayList() } }

  void checkPermission(Permission permission) { checked << permission.name }

  void save() { saved++ }
}

class JenkinsLocationConfiguration {
  private static final JenkinsLocationConfiguration ONE = new JenkinsLocationConfiguration()
  String url
  int saved = 0

  static JenkinsLocationConfiguration get() { return ONE }

  void save() { saved++ }
}
