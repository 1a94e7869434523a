"""The build's log: both streams in the order they came, secrets masked, bounded."""

from __future__ import annotations

import os
import re
import time

MASK = b"****"
SHORTEST_SECRET = 4  # bytes; shorter values would mask half of every log
SHORTEST_LINE = 8  # of a secret of several lines, such as a key: programs often show these by line, as `env | sort`
TAIL_BYTES = 4096


class Masker:
    """Replaces secrets in a stream of chunks, also where one lies across the border of two.

    Held back is only an end of the stream that may still become a secret, so that prompts and progress show at once.
    """

    def __init__(self, secrets: list[str]) -> None:
        values = {value.encode("utf-8", "surrogateescape") for value in secrets}
        lines = {line.strip() for value in values if b"\n" in value for line in value.splitlines()}
        values |= {line for line in lines if len(line) >= SHORTEST_LINE}
        self._secrets = sorted((value for value in values if len(value) >= SHORTEST_SECRET), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets))) if self._secrets else None
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown of the stream so far and has not been."""
        if self._pattern is None:
            return chunk
        text = self._held + chunk
        keep = self._undecided(text)
        shown, position = [], 0
        for match in self._pattern.finditer(text):
            if match.start() >= keep:
                break
            shown += [text[position : match.start()], MASK]
            position = match.end()
        keep = max(keep, position)
        shown.append(text[position:keep])
        self._held = text[keep:]
        return b"".join(shown)

    def finish(self) -> bytes:
        """The rest of the stream at its end."""
        text, self._held = self._held, b""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def whole(self, text: str) -> str:
        """``text`` by itself, masked."""
        if self._pattern is None:
            return text
        return self._pattern.sub(MASK, text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def _undecided(self, text: bytes) -> int:
        """Where the longest end of ``text`` starts that is the beginning, and not the whole, of a secret."""
        longest = 0
        for secret in self._secrets:
            for size in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:size]):
                    longest = size
                    break
        return len(text) - longest


class BuildLog:
    """``build.log`` in the sandbox. What goes over ``limit_bytes`` is dropped and ``full`` is set."""

    def __init__(self, path: str, limit_bytes: int, secrets: list[str]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._masker = Masker(secrets)
        self.limit_bytes = limit_bytes
        self._tail = b""
        self.size_bytes = 0
        self.full = False

    def hide(self, secrets: list[str]) -> None:
        """From here on these are what is masked."""
        self._append(self._masker.finish())
        self._masker = Masker(secrets)

    def write(self, chunk: bytes) -> None:
        self._append(self._masker.feed(chunk))

    def note(self, text: str) -> None:
        """A line of the executor's own, shown even where the build's output is over its limit."""
        self._append(self._masker.finish())
        self._line(text)

    def tell(self, text: str) -> None:
        """A line with the time, amid the output: what is held back of that stays so, for it may be half a secret."""
        self._line("%s %s" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text))

    def _line(self, text: str) -> None:
        start = "" if not self._tail or self._tail.endswith(b"\n") else "\n"
        self._put(("%s[butlery] %s\n" % (start, self.mask(text))).encode("utf-8", "replace"))

    def mask(self, text: str) -> str:
        return self._masker.whole(text)

    def last_line(self) -> str:
        """The last line with anything in it, as it was shown; at most 300 characters."""
        lines = [line.strip() for line in self._tail.decode("utf-8", "replace").splitlines()]
        return next((line[-300:] for line in reversed(lines) if line), "")

    def forget_tail(self) -> None:
        """From here on ``last_line`` tells only of what comes."""
        self._tail = b""

    def close(self) -> None:
        self._append(self._masker.finish())
        os.close(self._file)

    def _append(self, shown: bytes) -> None:
        room = self.limit_bytes - self.size_bytes
        if len(shown) > room:
            self.full = True
            shown = shown[: max(0, room)]
        if shown:
            self._put(shown)

    def _put(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        self.size_bytes += len(data)
        while data:
            data = data[os.write(self._file, data) :]
