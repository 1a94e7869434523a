"""Stand-ins for the three libraries of another age that the Mesos package is linked against.

The package was built on a system with OpenSSL 1.0 and libcurl 3, which Debian 12 has no more. Mesos calls them only for
TLS, JSON web tokens and downloads of container images, all of which are off here. So each function of a stand-in says
its name and aborts; one of our own that returned something would be worse. Only curl is asked for by whoever launches a
task: where a URI is to be cached, Mesos' agent asks for its size first. Curl then fails to start, as it may, and the
agent has the URI fetched without its cache.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from framework.errors import ButleryError

# soname -> the version names that the library asks for. Each must exist, even where no symbol of it is used.
SONAMES = {
    "libssl.so.1.0.0": ("OPENSSL_1.0.0", "OPENSSL_1.0.1", "OPENSSL_1.0.2"),
    "libcrypto.so.1.0.0": ("OPENSSL_1.0.0", "OPENSSL_1.0.2"),
    "libcurl.so.4": ("CURL_OPENSSL_3",),
}
COMPILE_TIMEOUT_S = 300
FAILING = {
    "curl_global_init": "int curl_global_init(long flags) { (void)flags; return 2; }",  # CURLE_FAILED_INIT
    "curl_easy_init": "void *curl_easy_init(void) { return NULL; }",
    "curl_easy_cleanup": "void curl_easy_cleanup(void *handle) { (void)handle; }",  # which is NULL
}


def build(library: Path, out: Path) -> None:
    """Writes every stand-in that ``library`` needs into the directory ``out``. Raises ButleryError."""
    listing = run(["nm", "-D", "--undefined-only", str(library)])
    symbols = [
        (name, version)
        for name, _, version in (line.split()[-1].partition("@") for line in listing.splitlines() if "@" in line)
        if version.startswith(("OPENSSL", "CURL"))
    ]
    for soname, versions in SONAMES.items():
        mine = [(name, version) for name, version in symbols if _soname_of(name, version) == soname]
        used = {version for _, version in mine}
        mine += [("unused_" + version.replace(".", "_"), version) for version in versions if version not in used]
        source = out / f"{soname}.c"
        versions_map = out / f"{soname}.map"
        source.write_text(_source(mine))
        versions_map.write_text(_versions(mine, versions))
        options = ["-shared", "-fPIC", "-O1", f"-Wl,-soname,{soname}", f"-Wl,--version-script={versions_map}"]
        run(["g++", "-x", "c", *options, "-o", str(out / soname), str(source)])
        source.unlink()
        versions_map.unlink()


def run(command: list[str]) -> str:
    """Standard output of a build tool. Raises ButleryError with its last words where it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ButleryError(f"{command[0]} did not run: {error}") from error
    if done.returncode != 0:
        words = " ".join(done.stderr.strip().splitlines()[-3:])
        raise ButleryError(f"{command[0]} ended with {done.returncode}: {words}")
    return done.stdout


def _soname_of(name: str, version: str) -> str:
    if version.startswith("CURL"):
        return "libcurl.so.4"
    return "libssl.so.1.0.0" if name.startswith(("SSL", "TLS")) else "libcrypto.so.1.0.0"


def _source(symbols: list[tuple[str, str]]) -> str:
    functions = [
        FAILING.get(
            name,
            f'void {name}(void) {{ fputs("{name} was called, which this build of Mesos lacks\\n", stderr); abort(); }}',
        )
        for name, _ in symbols
    ]
    return "\n".join(["#include <stdio.h>", "#include <stdlib.h>", *functions, ""])


def _versions(symbols: list[tuple[str, str]], versions: tuple[str, ...]) -> str:
    lines = []
    for version in versions:
        names = " ".join(f"{name};" for name, of in symbols if of == version)
        lines.append(f"{version} {{ global: {names} }};\n")
    return "".join(lines)
