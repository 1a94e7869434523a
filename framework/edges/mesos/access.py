"""Who we are to Mesos, and whom we take for Mesos: HTTP Basic credentials, and TLS with certificates of one's own."""

from __future__ import annotations

import base64
import ssl
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from framework.errors import Fault, InputError

# By OpenSSL's numbers (x509_vfy.h), which Python names nowhere.
_VERIFY_WORDS = {
    9: "its certificate is not valid yet: set the clock right, there or here",
    10: "its certificate has expired: it must be renewed there",
    18: "its certificate is self-signed: name it, or the CA that signed it, with mesos.ca_file",
    19: "its certificate's CA is not trusted here: name that CA with mesos.ca_file",
    20: "its certificate's CA is not trusted here: name that CA with mesos.ca_file",
    21: "its certificate's CA is not trusted here: name that CA with mesos.ca_file",
    62: "its certificate is another host's: write the name that stands in it into mesos.url, or mend the certificate",
    64: "its certificate is another host's: write the name that stands in it into mesos.url, or mend the certificate",
}
PASSING_FAULTS = frozenset({9, 10})
"""Of a certificate, those that time or the other side alone can mend, so that trying on helps."""

_REASON_WORDS = {
    "WRONG_VERSION_NUMBER": "it speaks no TLS: write http:// in mesos.url, or turn TLS on there",
    "RECORD_LAYER_FAILURE": "it speaks no TLS: write http:// in mesos.url, or turn TLS on there",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refuses our certificate as expired: renew mesos.cert_file",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of our certificate: have mesos.cert_file signed by one it knows",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refuses our certificate: mesos.cert_file must be one that its CA signed",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refuses our certificate: mesos.cert_file must be one that its CA signed",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it asks for a certificate of ours: name one with mesos.cert_file",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate of ours: name one with mesos.cert_file",
}


@dataclass(frozen=True)
class Access:
    """What is told to masters and hosts, and only to them. ``ssl_context`` None: the CAs that the system trusts."""

    authorization: str | None = field(default=None, repr=False)  # the header's value
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    zookeeper_https: bool = False  # whether masters that ZooKeeper names speak TLS
    zookeeper_auth: str | None = field(default=None, repr=False)  # USER:PASSWORD for the digest scheme

    @cached_property
    def tls(self) -> ssl.SSLContext:
        return self.ssl_context or ssl.create_default_context()


def basic(principal: str, secret: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{principal}:{secret}".encode()).decode()


def tls_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    """Trusts the CAs of ``ca_file`` alone, or the system's, and shows the certificate where one is asked for.

    None where no file is named. Raises InputError with every fault at once.
    """
    if (ca_file, cert_file, key_file) == (None, None, None):
        return None
    faults: list[Fault] = []
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError:
            faults.append(Fault("mesos.ca_file", f"{ca_file} holds no certificate in PEM form"))
        except OSError as error:
            faults.append(Fault("mesos.ca_file", f"{ca_file} cannot be read: {error.strerror}"))
    if cert_file is not None:
        fault = _load_own(context, cert_file, key_file)
        faults += [fault] if fault else []
    elif key_file is not None:
        faults.append(Fault("mesos.key_file", "is of no use without mesos.cert_file"))
    if faults:
        raise InputError(faults)
    return context


class _EncryptedKeyError(Exception):
    """Nobody is there to be asked for a password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _load_own(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> Fault | None:
    holder, key = ("mesos.cert_file", cert_file) if key_file is None else ("mesos.key_file", key_file)
    try:
        if key.stat().st_mode & stat.S_IRWXO:
            return Fault(holder, "everyone on this machine may read or change the key; `chmod 600` it")
    except OSError as error:
        return Fault(holder, f"{key} cannot be read: {error.strerror}")
    try:
        context.load_cert_chain(cert_file, key_file, _no_password)
    except _EncryptedKeyError:
        return Fault(holder, "the key has a password, which nobody is there to give; `openssl pkey` writes it without")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return Fault(holder, f"the key is not that of the certificate in {cert_file}")
        return Fault("mesos.cert_file", f"{cert_file} and its key are not in PEM form")
    except OSError as error:
        return Fault("mesos.cert_file", f"{cert_file} and its key cannot be read: {error.strerror}")
    return None


def tls_trouble(error: BaseException | None) -> str | None:
    """What is wrong with TLS, and the fix; None where the error is none of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_WORDS.get(error.verify_code, f"its certificate is not taken: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return _REASON_WORDS.get(error.reason or "", f"TLS fails: {error.reason or error}")
    return None


def mends_itself(error: BaseException | None) -> bool:
    """Whether trying on can help without a change of our settings."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code in PASSING_FAULTS
    return not isinstance(error, ssl.SSLError) or error.reason not in _REASON_WORDS
