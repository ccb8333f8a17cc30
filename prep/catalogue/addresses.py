"""Whether a text is the address of a hub. Problems never quote it: it may hold a secret."""

from urllib.parse import SplitResult, urlsplit

SCHEMES = ("http://", "https://")


def is_url(text: str) -> bool:
    """Whether it is meant as an address; else it is the path of a folder."""
    return "://" in text


def address_problem(url: str) -> str | None:
    """Why no hub can be asked there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "its host cannot be read (an IPv6 address is [::1])"
    if not url.startswith(SCHEMES) or not parts.hostname:
        return "it does not begin with https:// and a host"
    if parts.username or parts.password:
        return "it holds a user or a password, which reports would show"
    return wrong_part(parts)


def wrong_part(parts: SplitResult) -> str | None:
    """Why no request could be made, though it reads as a URL."""
    host = parts.hostname or ""
    try:
        host.encode("idna")  # as it is looked up
    except UnicodeError:
        return "its host is no name (a part of it is empty or too long)"
    if not host.isprintable() or " " in host + parts.path:
        return "it has a space or an invisible character"
    try:
        parts.port  # noqa: B018  # read only here
    except ValueError:
        return "its port is no number up to 65535"
    if parts.query or parts.fragment:
        return "it has a query or a fragment (? or #)"
    return None
