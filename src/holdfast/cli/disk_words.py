"""Reads plain command lines of `holdfast disk`, without the command line's library: most are, and a small copy is done
before that library is imported. Whatever is not plain (help, a mistake, an abbreviation) is left to `disk.py`, which
knows how to answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.cli.disk_verbs import VERBS, Verb

__all__ = ["plain"]


def plain(words: Sequence[str]) -> tuple[Verb, dict[str, Any]] | None:
    """The verb and what it is given; None unless every word is known, complete and beyond doubt."""
    verb = VERBS.get(words[0]) if words else None
    if verb is None:
        return None
    given = {word.name: word.value for word in verb.words}
    arguments = [word for word in verb.words if word.option is None]
    options = {
        flag: (word, number == 0)
        for word in verb.words
        if word.option is not None
        for number, flag in enumerate(word.option.split("/"))
    }
    seen: set[str] = set()
    rest = iter(words[1:])
    for text in rest:
        if not text.startswith("-") or text == "-":
            if not arguments:
                return None
            word, value = arguments.pop(0), text
        else:
            flag, equals, value = text.partition("=")
            if flag not in options:
                return None
            word, turned_on = options[flag]
            if word.kind is bool:
                if equals:
                    return None
                given[word.name] = turned_on
                continue
            if not equals:
                value = next(rest, "-")
                if value.startswith("-"):
                    return None
        if word.kind is int and not (value.isascii() and value.isdigit()):
            return None
        given[word.name] = int(value) if word.kind is int else value
        seen.add(word.name)
    if any(word.needed and word.name not in seen for word in verb.words):
        return None
    return verb, given
