"""Text that survives where MRML keeps it.

A scene file is XML: one control character in any attribute or name, and the whole scene cannot be read again. Segment
tags, terminology strings and subject hierarchy attributes are lists in one string: a separator inside a value cuts it.
"""

from __future__ import annotations

import re

__all__ = ["node_name", "of_bytes", "one_line", "percent_decoded", "percent_encoded", "plain_text", "shortened"]

_CONTROLS = "".join(map(chr, range(0x20)))
_DECODABLE = "(" + "|".join(f"{ord(character):02X}" for character in _CONTROLS + "%^|~") + ")"
# Characters that XML 1.0 cannot hold, not even as references (https://www.w3.org/TR/xml/#charsets); lone surrogates
# are no characters at all. Tabs and line ends are left: XML keeps them or makes them spaces.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def plain_text(value: object) -> str:
    """Return the value as text for a node's name or attribute: without outer spaces and what XML cannot hold.

    Examples
    --------
    >>> plain_text(" DOE^JOHN\\x00 "), plain_text(None)
    ('DOE^JOHN', '')
    """
    return "" if value is None else _NOT_XML.sub("", str(value)).strip()


def one_line(text: str) -> str:
    """Return text for a name: on one line, without what a scene file cannot hold."""
    return re.sub(r"[\t\r\n]", " ", plain_text(text))


def node_name(text: str) -> str:
    """Return text for the name of a node that is stored in a file.

    The scene file names that file after the node, with an ampersand as it is, and then is no XML any more.

    Examples
    --------
    >>> node_name("1: Liver & lesion\\n")
    '1: Liver and lesion'
    """
    return one_line(text).replace("&", "and")


def percent_encoded(text: str, characters: str = "|") -> str:
    """Encode control characters, and those of ``~^|`` that are in ``characters``, as ``%`` and two hexadecimal digits.

    A percent sign is only encoded where it would read as such a code: ``"50 % | 60 %"`` stays legible.

    Examples
    --------
    >>> percent_encoded("50 % | 60 %"), percent_encoded("%7C")
    ('50 % %7C 60 %', '%257C')
    """
    unsafe = f"[{re.escape(_CONTROLS + characters)}]|%(?={_DECODABLE})"
    return re.sub(unsafe, lambda match: f"%{ord(match[0]):02X}", text)


def percent_decoded(text: str) -> str:
    """Decode what :func:`percent_encoded` encoded, whatever its ``characters`` were."""
    return re.sub("%" + _DECODABLE, lambda match: chr(int(match[1], 16)), text)


def shortened(text: str, length: int) -> str:
    """Return text that fits a VR: no backslash or control characters, at most ``length`` characters.

    >>> shortened("left lung", 4)
    'left'
    """
    printable = "".join(character if character.isprintable() else " " for character in text.replace("\\", "/"))
    return printable.strip()[:length].strip()


def of_bytes(text: str, length: int) -> str:
    """Return text that also those take for ``length`` characters who count the bytes of UTF-8 (dciodvfy does).

    >>> of_bytes("Größe", 5)
    'Grö'
    """
    return shortened(shortened(text, length).encode("utf-8")[:length].decode("utf-8", "ignore"), length)
