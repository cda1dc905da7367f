"""TLS: whom a client believes, and in one line why a connection by it did not come about.

Every context checks the certificate and the name in it, unless `insecure` says otherwise; TLS 1.2 is the least.
"""

import ssl
from functools import lru_cache
from pathlib import Path

from common import plain_file
from common.messages import first_line

NAME_DIFFERS, EXPIRED, NOT_YET_VALID, IP_DIFFERS = 62, 10, 9, 64
"""OpenSSL's codes of why a certificate is refused (X509_V_ERR_..., openssl-verification-options(1))."""


@lru_cache
def make_context(ca_file: str = "", insecure: bool = False) -> ssl.SSLContext:
    """Return a client's context: it believes the system's authorities, or only those in `ca_file` (PEM).

    With `insecure` it believes everybody: whoever stands on the way reads all. Raises ValueError, in one line, for a
    file that holds no certificate.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError:
        raise ValueError(f"--cacert {ca_file}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    except OSError as error:
        raise ValueError(f"--cacert {ca_file}: {error.strerror or error}") from None
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def check_ca_file(ca_file: str) -> None:
    """Raise ValueError, in one line, if a file holds no certificate."""
    try:
        if ca_file:
            plain_file.check(Path(ca_file))
    except OSError as error:
        raise ValueError(f"--cacert {ca_file}: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"--cacert {ca_file}: {error}; give a file of certificates in PEM form") from None
    make_context(ca_file)


def read_authorities(ca_file: str = "") -> bytes | None:
    """Return the certificates (PEM) that `make_context` believes, for libraries with TLS of their own.

    None where the system has no file of them.
    """
    file = ca_file or ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None


def explain(error: ssl.SSLError) -> str:
    """Say in one line why TLS failed, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or first_line(error)
        if error.verify_code in (NAME_DIFFERS, IP_DIFFERS):
            return f"its certificate is for another name ({why.rstrip('.')}); give the name that stands in it"
        if error.verify_code in (EXPIRED, NOT_YET_VALID):
            return f"its certificate is not valid now ({why}); renew it, or set this machine's clock"
        trusted = "give its authority's as --cacert FILE; --insecure takes any, and lets whoever is between read along"
        return f"its certificate is not trusted ({why}); {trusted}"
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return "what answers there does not speak TLS; is it http:// instead of https://?"
    if "ALERT" in (error.reason or ""):
        return f"it refused the TLS connection ({(error.reason or '').replace('_', ' ').lower()})"
    return f"TLS failed ({first_line(error)})"
