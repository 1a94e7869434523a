"""``start --war`` with a real java, on a war that only tells what it was given."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.integration.masters.image.conftest import TIMEOUT_S
from tests.integration.zookeeper.clients import until
from tests.unit.masters.image.conftest import Master

SOURCE = """
import java.nio.file.*;

public class Told {
  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(System.getenv("JENKINS_HOME"));
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try { Files.writeString(home.resolve("queue.xml"), "saved"); } catch (Exception e) { }
    }));
    String told = String.join("|", System.getProperty("greeting"), System.getProperty("user.home"),
        String.valueOf(Runtime.getRuntime().maxMemory() >> 20), String.join(" ", arguments));
    Files.writeString(home.resolve("told.new"), told);
    Files.move(home.resolve("told.new"), home.resolve("told"));
    Thread.sleep(600_000);
  }
}
"""


@pytest.fixture
def war(tmp_path: Path) -> Path:
    assert shutil.which("javac"), "a JDK is missing; .ci/packages demo installs it"
    (tmp_path / "Told.java").write_text(SOURCE)
    for command in (["javac", "Told.java"], ["jar", "cfe", "jenkins.war", "Told", "Told.class"]):
        subprocess.run(command, cwd=tmp_path, check=True, timeout=TIMEOUT_S)
    return tmp_path / "jenkins.war"


def test_jenkins_runs_and_stops_as_its_own_process(war: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    options = "-Xmx48m '-Dgreeting=hello  world'"
    master = Master(home, tmp_path, {"PORT0": "31000", "BUTLERY_AS_ROOT": "1", "BUTLERY_JAVA_OPTIONS": options})
    process = master.begin("start", "--war", str(war), BUTLERY_PATH="/payments")
    try:
        until((home / "told").exists, "the war", TIMEOUT_S)
        greeting, user_home, heap, arguments = (home / "told").read_text().split("|")
        assert (greeting, user_home) == ("hello  world", os.path.realpath(home))
        assert int(heap) <= 48
        assert arguments == "--httpPort=31000 --prefix=/payments"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 143
        assert (home / "queue.xml").read_text() == "saved"
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
