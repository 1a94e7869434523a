package butlery.agent;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Base64;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/** The client's side of a WebSocket (RFC 6455) at /wsagents/, with the headers that Jenkins asks for. */
final class WebSocketConnection implements Connection {
  private static final int CONNECT_MS = 10_000;
  private static final int MAX_HEAD = 64 << 10;
  /** A serialised hudson.remoting.Capability, as the real agent sends one. */
  private static final String CAPABILITY =
      "rO0ABXNyABpodWRzb24ucmVtb3RpbmcuQ2FwYWJpbGl0eQAAAAAAAAABAgABSgAEbWFza3hwAAAAAAAAAf4=";

  /** The master answered, but not with a WebSocket. */
  static final class Refused extends IOException {
    private static final long serialVersionUID = 1;

    Refused(String message) {
      super(message);
    }
  }

  private final Socket socket;
  private final DataInputStream in;
  private final DataOutputStream out;
  private final SecureRandom random = new SecureRandom();

  private WebSocketConnection(Socket socket) throws IOException {
    this.socket = socket;
    in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream()));
  }

  static WebSocketConnection open(URI url, String name, String secret) throws IOException {
    boolean secure = "https".equals(url.getScheme());
    int port = url.getPort() >= 0 ? url.getPort() : secure ? 443 : 80;
    Socket plain = new Socket();
    try {
      plain.connect(new InetSocketAddress(url.getHost(), port), CONNECT_MS);
      plain.setTcpNoDelay(true);
      plain.setSoTimeout(CONNECT_MS);
      Socket socket = secure ? encrypted(plain, url.getHost(), port) : plain;
      WebSocketConnection connection = new WebSocketConnection(socket);
      connection.shakeHands(url, name, secret);
      socket.setSoTimeout(0);
      return connection;
    } catch (IOException fault) {
      plain.close();
      throw fault;
    }
  }

  private static Socket encrypted(Socket plain, String host, int port) throws IOException {
    SSLSocket socket = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault()).createSocket(plain, host, port, true);
    javax.net.ssl.SSLParameters parameters = socket.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    socket.setSSLParameters(parameters);
    socket.startHandshake();
    return socket;
  }

  private void shakeHands(URI url, String name, String secret) throws IOException {
    byte[] nonce = new byte[16];
    random.nextBytes(nonce);
    String head =
        "GET " + url.resolve("wsagents/").getRawPath() + " HTTP/1.1\r\n"
            + "Host: " + url.getRawAuthority() + "\r\n"
            + "Upgrade: websocket\r\n"
            + "Connection: Upgrade\r\n"
            + "Sec-WebSocket-Key: " + Base64.getEncoder().encodeToString(nonce) + "\r\n"
            + "Sec-WebSocket-Version: 13\r\n"
            + "Node-Name: " + name + "\r\n"
            + "Secret-Key: " + secret + "\r\n"
            + "X-Remoting-Capability: " + CAPABILITY + "\r\n\r\n";
    out.write(head.getBytes(StandardCharsets.ISO_8859_1));
    out.flush();
    String status = line();
    boolean capable = false;
    for (String header = line(); !header.isEmpty(); header = line()) {
      capable |= header.toLowerCase(java.util.Locale.ROOT).startsWith("x-remoting-capability:");
    }
    if (!status.startsWith("HTTP/1.1 101") || !capable) {
      throw new Refused(status);
    }
  }

  private String line() throws IOException {
    ByteArrayOutputStream read = new ByteArrayOutputStream();
    for (int one = in.readUnsignedByte(); one != '\n'; one = in.readUnsignedByte()) {
      read.write(one);
      if (read.size() > MAX_HEAD) {
        throw new Refused("the answer's head is too long");
      }
    }
    return read.toString(StandardCharsets.ISO_8859_1).trim();
  }

  @Override
  public void send(byte[] message) throws IOException {
    send(2, message);
  }

  private synchronized void send(int kind, byte[] message) throws IOException {
    out.writeByte(0x80 | kind);
    if (message.length < 126) {
      out.writeByte(0x80 | message.length);
    } else if (message.length < 1 << 16) {
      out.writeByte(0x80 | 126);
      out.writeShort(message.length);
    } else {
      out.writeByte(0x80 | 127);
      out.writeLong(message.length);
    }
    byte[] mask = new byte[4];
    random.nextBytes(mask);
    out.write(mask);
    byte[] masked = new byte[message.length];
    for (int at = 0; at < message.length; at++) {
      masked[at] = (byte) (message[at] ^ mask[at & 3]);
    }
    out.write(masked);
    out.flush();
  }

  @Override
  public byte[] receive() throws IOException {
    try {
      while (true) {
        int kind = in.readUnsignedByte() & 0x0f;
        long size = in.readUnsignedByte() & 0x7f;
        if (size == 126) {
          size = in.readUnsignedShort();
        } else if (size == 127) {
          size = in.readLong();
        }
        byte[] message = new byte[Math.toIntExact(size)];
        in.readFully(message);
        if (kind == 2) {
          return message;
        }
        if (kind == 8) {
          return null;
        }
        if (kind == 9) {
          send(10, message);
        }
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
