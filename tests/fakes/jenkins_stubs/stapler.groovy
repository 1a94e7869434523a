package org.kohsuke.stapler

import java.lang.annotation.ElementType
import java.lang.annotation.Retention
import java.lang.annotation.RetentionPolicy
import java.lang.annotation.Target

interface HttpResponse {}

@Retention(RetentionPolicy.RUNTIME)
@Target([ElementType.PARAMETER, ElementType.FIELD])
@interface QueryParameter {
  String value() default ''
}

class HttpResponses {
  static class Told extends RuntimeException implements HttpResponse {
    int status
    String text
  }

  static Told status(int code) { return new Told(status: code) }

  static Told errorWithoutStack(int code, String text) { return new Told(status: code, text: text) }

  static HttpResponse text(String text) { return new Told(status: 200, text: text) }
}
