package hudson.security

import hudson.model.User

class Permission {
  final String name

  Permission(String name) { this.name = name }
}

class ACL {
  static final Object SYSTEM2 = 'SYSTEM'
  static final ThreadLocal<Object> CURRENT = new ThreadLocal<>()

  static AutoCloseable as2(Object who) {
    Object before = CURRENT.get()
    CURRENT.set(who)
    return { CURRENT.set(before) } as AutoCloseable
  }
}

class SecurityRealm {
  static final SecurityRealm NO_AUTHENTICATION = new SecurityRealm()
}

class HudsonPrivateSecurityRealm extends SecurityRealm {
  static class Details {
    private String password

    boolean isPasswordCorrect(String candidate) { return password == candidate }
  }

  final boolean allowsSignup

  HudsonPrivateSecurityRealm(boolean allowsSignup, boolean enableCaptcha, Object captchaSupport) {
    this.allowsSignup = allowsSignup
  }

  User createAccount(String name, String password) {
    User user = User.getById(name, true)
    user.addProperty(new Details(password: password))
    return user
  }
}

class AuthorizationStrategy {
  static final AuthorizationStrategy UNSECURED = new AuthorizationStrategy()
}

class FullControlOnceLoggedInAuthorizationStrategy extends AuthorizationStrategy {
  boolean allowAnonymousRead = true
}
