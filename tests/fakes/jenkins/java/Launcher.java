package butlery.agent;

import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The stand-in's agent: takes the options of Jenkins' agent.jar, ends with its exit codes, and runs the shell steps that
 * the master sends.
 */
public final class Launcher {
  private static final int REJECTED = 255;
  private static final long RETRY_MS = 10_000;
  private static final int HTTP_MS = 10_000;

  private String url;
  private String secret;
  private String name;
  private String jnlpUrl;
  private String tunnel;
  private boolean webSocket;
  private boolean noReconnect;

  public static void main(String[] arguments) throws InterruptedException {
    Launcher launcher = new Launcher();
    try {
      launcher.read(expanded(arguments));
    } catch (IllegalArgumentException | IOException fault) {
      System.err.println(fault.getMessage());
      System.exit(REJECTED);
    }
    System.exit(launcher.run());
  }

  /** {@code @FILE} stands for the lines of a file, so that a secret need not be on the command line. */
  private static List<String> expanded(String[] arguments) throws IOException {
    List<String> found = new ArrayList<>();
    for (String argument : arguments) {
      if (argument.startsWith("@")) {
        found.addAll(java.nio.file.Files.readAllLines(java.nio.file.Path.of(argument.substring(1))));
      } else {
        found.add(argument);
      }
    }
    return found;
  }

  private void read(List<String> arguments) {
    List<String> plain = new ArrayList<>();
    for (int at = 0; at < arguments.size(); at++) {
      String option = arguments.get(at);
      switch (option) {
        case "-webSocket":
          webSocket = true;
          break;
        case "-noReconnect":
          noReconnect = true;
          break;
        case "-failIfWorkDirIsMissing":
        case "-noKeepAlive":
        case "-disableHttpsCertValidation":
          break;
        case "-url":
        case "-secret":
        case "-name":
        case "-jnlpUrl":
        case "-tunnel":
        case "-workDir":
        case "-internalDir":
        case "-jar-cache":
        case "-agentLog":
        case "-loggingConfig":
        case "-cert":
        case "-credentials":
        case "-proxyCredentials":
        case "-protocols":
        case "-webSocketHeader":
          if (++at == arguments.size()) {
            throw new IllegalArgumentException("Option \"" + option + "\" takes an operand");
          }
          set(option, arguments.get(at));
          break;
        default:
          if (option.startsWith("-")) {
            throw new IllegalArgumentException("\"" + option + "\" is not a valid option");
          }
          plain.add(option);
      }
    }
    if (secret == null && !plain.isEmpty()) {
      secret = plain.get(0);
    }
    if (name == null && plain.size() > 1) {
      name = plain.get(1);
    }
    if (jnlpUrl == null && (url == null || name == null) || secret == null) {
      throw new IllegalArgumentException("-url, -secret and -name, or -jnlpUrl and -secret, are required");
    }
  }

  private void set(String option, String value) {
    switch (option) {
      case "-url":
        url = value.endsWith("/") ? value : value + "/";
        break;
      case "-secret":
        secret = value;
        break;
      case "-name":
        name = value;
        break;
      case "-jnlpUrl":
        jnlpUrl = value;
        break;
      case "-tunnel":
        tunnel = value;
        break;
      case "-workDir":
        new java.io.File(value).mkdirs();
        break;
      default:
    }
  }

  /** The exit code. */
  private int run() throws InterruptedException {
    boolean again = false;
    while (true) {
      if (jnlpUrl != null && !readPage()) {
        pause();
        continue;
      }
      if (!again) {
        info("Setting up agent: " + name);
        again = true;
      }
      Connection connection = webSocket ? openWebSocket() : openTcp();
      if (connection == null) {
        return REJECTED;
      }
      info("Connected");
      new Steps(connection).serve();
      info("Terminated");
      if (noReconnect) {
        return 0;
      }
      if (webSocket && jnlpUrl == null) {
        waitForMaster();
      }
    }
  }

  /** Asks the page of -jnlpUrl what else to use; whether it answered. */
  private boolean readPage() {
    System.err.println(
        "WARNING: The \"-jnlpUrl\" argument is deprecated. Use \"-url\" and \"-name\" instead, potentially also passing in"
            + " \"-webSocket\", \"-tunnel\", and/or work directory options as needed.");
    Matcher place = Pattern.compile("(.*/)computer/([^/]+)/[^/]+").matcher(jnlpUrl);
    if (!place.matches()) {
      throw new IllegalArgumentException("-jnlpUrl is no page of an agent");
    }
    try {
      HttpURLConnection asked = (HttpURLConnection) URI.create(jnlpUrl).toURL().openConnection();
      asked.setConnectTimeout(HTTP_MS);
      asked.setReadTimeout(HTTP_MS);
      int status = asked.getResponseCode();
      if (status == 403) { // the page is not for everybody; the secret is known already
        set("-url", place.group(1));
        name = place.group(2);
        webSocket = true;
        return true;
      }
      if (status != 200) {
        info("Failed to obtain " + jnlpUrl + ": " + status);
        return false;
      }
      try (InputStream page = asked.getInputStream()) {
        take(new String(page.readAllBytes(), StandardCharsets.UTF_8));
      }
      return true;
    } catch (IOException fault) {
      info("Failed to obtain " + jnlpUrl + ": " + fault);
      return false;
    }
  }

  private void take(String page) {
    List<String> found = new ArrayList<>();
    Matcher argument = Pattern.compile("<argument>([^<]*)</argument>").matcher(page);
    while (argument.find()) {
      found.add(argument.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    }
    name = found.get(1);
    webSocket = found.contains("-webSocket");
    set("-url", found.get(found.indexOf("-url") + 1));
  }

  private Connection openWebSocket() {
    try {
      Connection connection = WebSocketConnection.open(URI.create(url), name, secret);
      info("WebSocket connection open");
      return connection;
    } catch (WebSocketConnection.Refused fault) {
      System.err.println("SEVERE: Handshake error: " + fault.getMessage());
      System.err.println("WARNING: Did not receive X-Remoting-Capability header");
    } catch (IOException fault) {
      System.err.println("SEVERE: Failed to connect to " + url + ": " + fault);
    }
    return null;
  }

  /** Tries until it is let in: an agent by TCP does not give up. */
  private Connection openTcp() throws InterruptedException {
    while (true) {
      info("Locating server among [" + url + "]");
      try {
        HttpURLConnection asked =
            (HttpURLConnection) URI.create(url).resolve("tcpSlaveAgentListener/").toURL().openConnection();
        asked.setConnectTimeout(HTTP_MS);
        asked.setReadTimeout(HTTP_MS);
        int status = asked.getResponseCode();
        if (status != 200) {
          throw new IOException(url + "tcpSlaveAgentListener/ is invalid: " + status + " " + asked.getResponseMessage());
        }
        String host = URI.create(url).getHost();
        int port = asked.getHeaderFieldInt("X-Jenkins-JNLP-Port", 0);
        if (tunnel != null) {
          String[] parts = tunnel.split(":", 2);
          host = parts[0].isEmpty() ? host : parts[0];
          port = parts.length < 2 || parts[1].isEmpty() ? port : Integer.parseInt(parts[1]);
        }
        info("Agent discovery successful\n  Agent address: " + host + "\n  Agent port:    " + port);
        info("Connecting to " + host + ":" + port);
        return TcpConnection.open(host, port, name, secret);
      } catch (TcpConnection.Rejected fault) {
        info("reconnect rejected, sleeping 10s: " + fault.getMessage());
      } catch (IOException fault) {
        info("Could not locate server among [" + url + "]; waiting 10 seconds before retry\n" + fault);
      }
      if (noReconnect) {
        return null;
      }
      pause();
    }
  }

  private void waitForMaster() throws InterruptedException {
    while (true) {
      pause();
      try {
        HttpURLConnection asked = (HttpURLConnection) URI.create(url).resolve("login").toURL().openConnection();
        asked.setConnectTimeout(HTTP_MS);
        asked.setReadTimeout(HTTP_MS);
        int status = asked.getResponseCode();
        asked.disconnect();
        if (status == 200) {
          return;
        }
        info(url + "login is not ready: " + status);
      } catch (IOException fault) {
        info(url + "login is not ready: " + fault);
      }
    }
  }

  private static void pause() throws InterruptedException {
    Thread.sleep(RETRY_MS);
  }

  private static void info(String text) {
    System.err.println("INFO: " + text);
  }
}
