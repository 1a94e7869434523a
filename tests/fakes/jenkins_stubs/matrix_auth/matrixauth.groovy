package org.jenkinsci.plugins.matrixauth

class PermissionEntry {
  private final String text

  private PermissionEntry(String text) { this.text = text }

  static PermissionEntry user(String sid) { return new PermissionEntry("USER:${sid}") }

  static PermissionEntry group(String sid) { return new PermissionEntry("GROUP:${sid}") }

  String toString() { return text }
}
