"""Where the hub keeps the bytes of large files: a host of another name, and signed addresses.

The name is `localhost`, beside the hub's 127.0.0.1: clients decide by the name of a host whether a
redirect stays at the hub, and whether a token may go with it.
"""

import errno
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256, shake_256
from urllib.parse import quote, urlencode

from sample_hub.listener import Listener

NAME = "localhost"
# Which of both `localhost` leads to, and which a client tries first, differs by machine.
ADDRESSES = ("127.0.0.1", "::1")
NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
TRIES = 20  # for a port that is free at both addresses
LIFETIME = 3600  # seconds
RECONSTRUCTION = f"http://{NAME}:9/v1/reconstructions/"  # Xet is announced, and not served
# Of this process, so that one hub can send to another for the bytes.
_KEY = secrets.token_bytes(32)


def listen(make: Callable[[tuple[str, int]], Listener], port: int = 0) -> list[Listener]:
    """One port at every loopback address that this machine has; 0 is any free one."""
    for _ in range(TRIES):
        listeners: list[Listener] = []
        chosen = port
        try:
            for address in ADDRESSES:
                try:
                    listeners.append(make((address, chosen)))
                except OSError as error:
                    if error.errno not in NO_IPV6:
                        raise
                    continue
                chosen = listeners[0].server_port
        except OSError as error:
            for listener in listeners:
                listener.server_close()
            if port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return listeners
    raise OSError(errno.EADDRINUSE, f"no port is free at both {' and '.join(ADDRESSES)}")


def xet_hash(digest: str) -> str:
    """The name of a file's bytes in the hub's own storage: another one than its sha256."""
    return sha256(f"xet {digest}".encode()).hexdigest()


def signed(path: str, *, expires: int | None = None) -> str:
    """A path with a query that the CDN lets in for an hour; another one at each call."""
    until = str(int(time.time()) + LIFETIME if expires is None else expires)
    policy = {
        "Statement": [
            {
                "Resource": path,
                "Condition": {"DateLessThan": {"AWS:EpochTime": until}},
                "Nonce": secrets.token_hex(8),
            }
        ]
    }
    encoded = urlsafe_b64encode(json.dumps(policy).encode()).decode()
    query = {
        "X-Xet-Cas-Uid": "public",
        "response-content-disposition": f'inline; filename="{path.rpartition("/")[2]}";',
        "Expires": until,
        "Policy": encoded,
        "Signature": _signature(path, until, encoded),
        "Key-Pair-Id": "K2L8F4GPSG1IFC",
    }
    return f"{quote(path)}?{urlencode(query)}"


def refusal(path: str, query: Mapping[str, str], *, token: bool) -> tuple[int, str] | None:
    """Why the CDN does not let a request in: status and text; None where it does."""
    if token:
        return 400, "InvalidArgument: Only one auth mechanism allowed"
    until, policy = query.get("Expires", ""), query.get("Policy", "")
    if not until or not policy or "Key-Pair-Id" not in query:
        return 403, "MissingKey: Missing Key-Pair-Id query parameter or cookie value"
    wanted = _signature(path, until, policy)
    if not secrets.compare_digest(wanted, query.get("Signature", "")):
        return 403, "SignatureError"
    if not until.isdigit() or int(until) < time.time():
        return 403, "AccessDenied: Request has expired"
    return None


def _signature(path: str, until: str, policy: str) -> str:
    message = "\n".join((path, until, policy)).encode()
    return urlsafe_b64encode(shake_256(_KEY + message).digest(256)).decode()
