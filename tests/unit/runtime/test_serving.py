from __future__ import annotations

import socket
from contextlib import closing

from framework.runtime import serving


def test_little_waits_in_the_kernel_for_clients_that_do_not_read() -> None:
    with closing(serving.listen("127.0.0.1", 0, "api")) as listener:
        with closing(socket.create_connection(listener.getsockname())), closing(listener.accept()[0]) as connection:
            connection.setblocking(False)
            sent = 0
            try:
                while sent < 64 << 20:
                    sent += connection.send(b"x" * 65536)
            except BlockingIOError:
                pass
            assert serving.UNSENT_BYTES <= sent < 3 * serving.UNSENT_BYTES
