package butlery.agent;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Runs what the master sends: R id workspace script interpreter variables.., K id. Each step has a thread of its own. */
final class Steps {
  private static final int PIECE = 32 << 10;

  private final Connection connection;
  private final Map<Integer, Process> running = new ConcurrentHashMap<>();
  private final Thread killer = new Thread(this::killAll);

  Steps(Connection connection) {
    this.connection = connection;
  }

  /** Until the connection ends; then nothing that it started runs any more. */
  void serve() {
    Runtime.getRuntime().addShutdownHook(killer);
    try {
      for (byte[] message = connection.receive(); message != null; message = connection.receive()) {
        ByteBuffer read = ByteBuffer.wrap(message);
        byte kind = read.get();
        int id = read.getInt();
        if (kind == 'R') {
          List<String> fields = fields(read);
          Thread thread = new Thread(() -> run(id, fields), "step-" + id);
          thread.setDaemon(true);
          thread.start();
        } else if (kind == 'K') {
          kill(running.get(id));
        }
      }
    } catch (IOException fault) {
      System.err.println("INFO: " + fault);
    } finally {
      connection.close();
      killAll();
      Runtime.getRuntime().removeShutdownHook(killer);
    }
  }

  private static List<String> fields(ByteBuffer read) {
    List<String> found = new ArrayList<>();
    while (read.hasRemaining()) {
      byte[] field = new byte[read.getInt()];
      read.get(field);
      found.add(new String(field, StandardCharsets.UTF_8));
    }
    return found;
  }

  private void run(int id, List<String> fields) {
    Path script = null;
    try {
      File workspace = new File(fields.get(0));
      Files.createDirectories(workspace.toPath());
      script = Files.createTempFile("jenkins", ".sh");
      Files.writeString(script, fields.get(1));
      List<String> command = new ArrayList<>(List.of(fields.get(2).trim().split("\\s+")));
      command.add(script.toString());
      ProcessBuilder builder = new ProcessBuilder(command).directory(workspace).redirectErrorStream(true);
      for (String variable : fields.subList(3, fields.size())) {
        int at = variable.indexOf('=');
        builder.environment().put(variable.substring(0, at), variable.substring(at + 1));
      }
      builder.redirectInput(new File("/dev/null"));
      connection.send(message('S', id, script.toString().getBytes(StandardCharsets.UTF_8)));
      Process process = builder.start();
      running.put(id, process);
      try (InputStream output = process.getInputStream()) {
        byte[] piece = new byte[PIECE];
        for (int size = output.read(piece); size >= 0; size = output.read(piece)) {
          connection.send(message('O', id, java.util.Arrays.copyOf(piece, size)));
        }
      }
      end(id, process.waitFor());
    } catch (IOException | InterruptedException fault) {
      failed(id, fault);
    } finally {
      running.remove(id);
      if (script != null) {
        script.toFile().delete();
      }
    }
  }

  private void failed(int id, Exception fault) {
    try {
      connection.send(message('O', id, (fault + "\n").getBytes(StandardCharsets.UTF_8)));
      end(id, 127);
    } catch (IOException gone) {
      // Nobody is there to be told.
    }
  }

  private void end(int id, int code) throws IOException {
    connection.send(message('E', id, ByteBuffer.allocate(4).putInt(code).array()));
  }

  private static byte[] message(char kind, int id, byte[] rest) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(rest.length + 5);
    DataOutputStream out = new DataOutputStream(bytes);
    out.writeByte(kind);
    out.writeInt(id);
    out.write(rest);
    return bytes.toByteArray();
  }

  private void killAll() {
    running.values().forEach(Steps::kill);
  }

  private static void kill(Process process) {
    if (process != null) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }
}
