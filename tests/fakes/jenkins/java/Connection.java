package butlery.agent;

import java.io.IOException;

/** Messages to and from the master. */
interface Connection {
  /** Safe from many threads. */
  void send(byte[] message) throws IOException;

  /** The next message; null once the master closed. */
  byte[] receive() throws IOException;

  void close();
}
