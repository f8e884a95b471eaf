"""How a camera's web server is told the password: Basic or Digest, whichever it asks for."""

import base64
import urllib.request
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit, urlunsplit

from nut_runtime.errors import SourceError

__all__ = ["authorization", "split_login"]


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return a URL without `USER:PASSWORD@`, and user and password, or None."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)), (unquote(parts.username), unquote(parts.password or ""))


def authorization(asked: Sequence[str], login: tuple[str, str], url: str) -> str:
    """Return the `Authorization` header that answers a server's `WWW-Authenticate`.

    Args:
        asked: The headers, one a scheme. Digest is preferred, for it does not send the password.
        login: User and password.
        url: What is asked for, without password.

    Raises:
        SourceError: If the server asks for something else.
    """
    user, password = login
    schemes = {scheme.strip().partition(" ")[0].lower(): scheme.strip() for scheme in asked}
    if "digest" in schemes:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, url, user, password)
        fields = urllib.request.parse_keqv_list(urllib.request.parse_http_list(schemes["digest"].partition(" ")[2]))
        request = urllib.request.Request(url)  # noqa: S310 - nothing is opened, it carries the URL
        try:
            answer = urllib.request.HTTPDigestAuthHandler(passwords).get_authorization(request, fields)
        except ValueError:  # an algorithm that it does not know
            answer = None
        if answer:
            return f"Digest {answer}"
    if "basic" in schemes:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    raise SourceError(f"the camera asks for a login of an unknown kind ({', '.join(schemes) or 'none'})")
