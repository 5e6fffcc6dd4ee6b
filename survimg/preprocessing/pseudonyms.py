"""Pseudonyms of patients: a keyed hash of their identifiers.

Who has the key finds a patient again, at this site or at another one that was given the same key;
who has not can neither read nor guess an identifier, not even by trying all hospital numbers.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path

__all__ = ["pseudonyms", "read_key"]

#: Bytes below which a key could be tried out.
SHORTEST_KEY = 32
_LONGEST_KEY = 4096
#: Hexadecimal digits of a pseudonym: 64 bits, so that two of a million patients share one with a
#: probability of 3e-8.
_DIGITS = 16


def read_key(path: str | os.PathLike[str]) -> bytes:
    """Read the key of `pseudonyms` from a file.

    Parameters
    ----------
    path : path-like
        At least 32 bytes that nobody can guess, made once for a project:
        ``(umask 077; python -c "import secrets; print(secrets.token_hex(32))" > key)``.

    Returns
    -------
    bytes
        The content without white space at its ends.

    Raises
    ------
    ValueError
        It is no ordinary file, too short or too long, says the same byte over and over, or others
        than its owner may read it.
    FileNotFoundError
        There is none.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no ordinary file; the key of pseudonyms is one.")
    if os.name != "nt" and status.st_mode & 0o077:
        raise ValueError(
            f"{path} may be read by others (permissions {stat.S_IMODE(status.st_mode):o}), who "
            f"could then find out identifiers: chmod 600 {path}."
        )
    with open(path, "rb") as file:
        key = file.read(_LONGEST_KEY + 1).strip()
    if not SHORTEST_KEY <= len(key) <= _LONGEST_KEY or len(set(key)) < 8:
        raise ValueError(
            f"{path} holds no usable key: {len(key)} bytes, {len(set(key))} different ones. It "
            f"needs at least {SHORTEST_KEY} that nobody can guess: python -c 'import secrets; "
            f"print(secrets.token_hex({SHORTEST_KEY}))' > {path}."
        )
    return key


def pseudonyms(ids: Sequence[str], key: bytes) -> list[str]:
    """Return a pseudonym for each identifier: HMAC-SHA256 (RFC 2104), 16 digits of it.

    Parameters
    ----------
    ids : sequence of str
        Their Unicode form does not matter (NFC is hashed), every other character does.
    key : bytes
        See `read_key`.

    Returns
    -------
    list of str
        ``p-`` and 16 hexadecimal digits; the same for the same identifier and key everywhere.

    Raises
    ------
    ValueError
        Two identifiers get one pseudonym.
    """
    texts = [unicodedata.normalize("NFC", str(name)) for name in ids]
    names = [
        f"p-{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:_DIGITS]}" for text in texts
    ]
    if len(set(names)) < len(set(map(str, ids))):
        raise ValueError(
            "Two identifiers get the same pseudonym: they differ in their Unicode form alone, or "
            "by a chance of 1 in 10^19. Rename one of the patients."
        )
    return names
