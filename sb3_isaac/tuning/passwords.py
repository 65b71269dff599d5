"""The password in a database's URL, which no file, message or terminal may show."""

from __future__ import annotations

import json
import re
from typing import Any, List, Tuple
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"
_PAIR = re.compile(r"(^|[?&;])([^?&;=]*)=([^&;]*)")
_SECRET_KEY = re.compile(r"pass|pwd|secret|token|key|auth|cred", re.IGNORECASE)


def shown(url: str) -> str:
    """`url` without its password, whether or not it can be parsed.

    Rather too much is hidden than too little, since a password may hold each of ``: / ? & @`` where it is not escaped:
    all between the first ``:`` of the authority and the last ``@``, and the value of a query's key such as
    ``password`` or ``sslkey``, however that is escaped.
    """
    return _split(url)[0]


def _is_secret(pair: "re.Match[str]") -> bool:
    return bool(_SECRET_KEY.search(unquote_plus(pair[2])))


def _split(url: str) -> Tuple[str, List[str]]:
    """`url` as it may be shown, and what was left out."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url, []
    first = next((pair.start() for pair in _PAIR.finditer(rest) if _is_secret(pair)), len(rest))
    authority, query, hidden = rest[:first], rest[first:], []
    user, at, place = authority.rpartition("@")
    if not at and "@" in rest:  # the @ is in the query, or the query begins within a password
        user, place = authority, ""
    name, colon, password = user.partition(":")
    if colon:
        hidden.append(password)
    hidden += [pair[3] for pair in _PAIR.finditer(query) if _is_secret(pair)]
    query = _PAIR.sub(lambda pair: f"{pair[1]}{pair[2]}={HIDDEN}" if _is_secret(pair) else pair[0], query)
    made = f"{name}{colon}{HIDDEN if colon else ''}{at}{place}{query}"
    return f"{scheme}://{made}", [word for word in hidden if word]


def without_password(text: str, url: str) -> str:
    """`text`, in which `url` and its password do not occur, however they are escaped there."""
    safe, hidden = _split(url)
    text = text.replace(url, safe).replace(json.dumps(url)[1:-1], safe)
    spelled = {spell(word) for word in hidden
               for spell in (str, unquote, unquote_plus, lambda w: quote(unquote(w), safe=""),
                             lambda w: quote_plus(unquote(w)), lambda w: json.dumps(w)[1:-1])}
    for word in sorted(spelled, key=len, reverse=True):
        text = text.replace(word, HIDDEN) if len(word) > 2 else text
    return text


def hidden_in(value: Any, url: str) -> Any:
    """`value`, a tree of builtins, with every text in it by :func:`without_password`."""
    if isinstance(value, str):
        return without_password(value, url)
    if isinstance(value, dict):
        return {key: hidden_in(item, url) for key, item in value.items()}
    return [hidden_in(item, url) for item in value] if isinstance(value, (list, tuple)) else value
