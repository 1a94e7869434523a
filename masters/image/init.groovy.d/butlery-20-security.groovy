/*
 * Who may do what, where configuration as code has not said it: Jenkins' own users, of which `admin` has the password
 * that was handed over; rights by matrix where the plugin is there, else all to whoever has logged in and nothing to
 * others. `butlery` is the scheduler. A Jenkins that cannot be secured must not run.
 */
import java.security.SecureRandom
import java.util.logging.Level

import hudson.model.Item
import hudson.model.User
import hudson.model.View
import hudson.security.AuthorizationStrategy
import hudson.security.FullControlOnceLoggedInAuthorizationStrategy
import hudson.security.HudsonPrivateSecurityRealm
import hudson.security.SecurityRealm
import jenkins.model.Jenkins

class ButlerySecurity {
  static final String ADMIN = 'admin'
  static final String SCHEDULER = 'butlery'

  final Jenkins jenkins = Jenkins.get()
  final def butlery
  final File chosen // says that the rights of all who have logged in were our choice

  ButlerySecurity(butlery) {
    this.butlery = butlery
    chosen = new File(butlery.folder, 'full-control')
  }

  void apply() {
    if (jenkins.securityRealm == SecurityRealm.NO_AUTHENTICATION) {
      jenkins.securityRealm = new HudsonPrivateSecurityRealm(false, false, null)
    }
    if (jenkins.securityRealm instanceof HudsonPrivateSecurityRealm) users((HudsonPrivateSecurityRealm) jenkins.securityRealm)
    rights()
    jenkins.save()
  }

  private void users(HudsonPrivateSecurityRealm realm) {
    String password = butlery.handed('admin-password')
    if (password && !details(ADMIN)?.isPasswordCorrect(password)) realm.createAccount(ADMIN, password)
    // The realm must know whom a token is of; nobody knows this password.
    if (details(SCHEDULER) == null) realm.createAccount(SCHEDULER, new BigInteger(256, new SecureRandom()).toString(36))
  }

  private static details(String id) {
    return User.getById(id, true).getProperty(HudsonPrivateSecurityRealm.Details)
  }

  private void rights() {
    def now = jenkins.authorizationStrategy
    Class matrix = found('hudson.security.GlobalMatrixAuthorizationStrategy')
    boolean ours = now instanceof FullControlOnceLoggedInAuthorizationStrategy && chosen.exists()
    if (now != AuthorizationStrategy.UNSECURED && !(ours && matrix)) return
    if (matrix) {
      def strategy = matrix.newInstance()
      [ADMIN, SCHEDULER].each { grant(strategy, Jenkins.ADMINISTER, 'user', it) }
      [Jenkins.READ, View.READ, Item.READ, Item.BUILD, Item.CANCEL, Item.WORKSPACE].each {
        grant(strategy, it, 'group', 'authenticated')
      }
      jenkins.authorizationStrategy = strategy
      chosen.delete()
    } else {
      def strategy = new FullControlOnceLoggedInAuthorizationStrategy()
      strategy.allowAnonymousRead = false
      jenkins.authorizationStrategy = strategy
      chosen.text = ''
    }
  }

  /** From version 3 the plugin tells users from groups. */
  private void grant(strategy, permission, String kind, String name) {
    Class entry = found('org.jenkinsci.plugins.matrixauth.PermissionEntry')
    strategy.add(permission, entry ? entry."${kind}"(name) : name)
  }

  private Class found(String name) {
    try {
      return jenkins.pluginManager.uberClassLoader.loadClass(name)
    } catch (ClassNotFoundException e) {
      return null
    }
  }
}

try {
  new ButlerySecurity(butlery).apply()
} catch (Throwable problem) {
  butlery.say(Level.SEVERE, 'Jenkins cannot be secured, and so does not run', problem)
  Runtime.runtime.halt(1)
}
