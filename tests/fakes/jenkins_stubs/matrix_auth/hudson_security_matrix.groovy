package hudson.security

class GlobalMatrixAuthorizationStrategy extends AuthorizationStrategy {
  final Map<String, Set<String>> granted = [:]

  void add(Permission permission, org.jenkinsci.plugins.matrixauth.PermissionEntry entry) {
    granted.computeIfAbsent(entry.toString()) { new TreeSet<String>() } << permission.name
  }
}
