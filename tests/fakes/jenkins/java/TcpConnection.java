package butlery.agent;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;

/** Messages with their length before them; an empty one is a ping and is sent back. */
final class TcpConnection implements Connection {
  private static final int CONNECT_MS = 10_000;

  /** The master does not let this agent in. */
  static final class Rejected extends IOException {
    private static final long serialVersionUID = 1;

    Rejected(String message) {
      super(message);
    }
  }

  private final Socket socket;
  private final DataInputStream in;
  private final DataOutputStream out;

  private TcpConnection(Socket socket) throws IOException {
    this.socket = socket;
    in = new DataInputStream(new java.io.BufferedInputStream(socket.getInputStream()));
    out = new DataOutputStream(new java.io.BufferedOutputStream(socket.getOutputStream()));
  }

  static TcpConnection open(String host, int port, String name, String secret) throws IOException {
    Socket socket = new Socket();
    try {
      socket.connect(new InetSocketAddress(host, port), CONNECT_MS);
      socket.setKeepAlive(true);
      TcpConnection connection = new TcpConnection(socket);
      connection.out.writeUTF("Protocol:JNLP4-connect");
      connection.out.writeUTF(name);
      connection.out.writeUTF(secret);
      connection.out.flush();
      String fault = connection.in.readUTF();
      if (!fault.isEmpty()) {
        throw new Rejected("The server rejected the connection: " + fault);
      }
      return connection;
    } catch (IOException fault) {
      socket.close();
      throw fault;
    }
  }

  @Override
  public synchronized void send(byte[] message) throws IOException {
    out.writeInt(message.length);
    out.write(message);
    out.flush();
  }

  @Override
  public byte[] receive() throws IOException {
    try {
      while (true) {
        byte[] message = new byte[in.readInt()];
        in.readFully(message);
        if (message.length > 0) {
          return message;
        }
        send(message);
      }
    } catch (EOFException end) {
      return null;
    }
  }

  @Override
  public void close() {
    try {
      socket.close();
    } catch (IOException gone) {
      // It is closed either way.
    }
  }
}
