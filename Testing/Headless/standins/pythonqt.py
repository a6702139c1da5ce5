"""How PythonQt shows C++ objects to Python, as far as a plugin meets it.

No keyword arguments, wrong arguments are a ``ValueError``, unknown attributes an ``AttributeError`` on reading and on
writing, properties are values with a C++ type, lists come out as tuples.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any


def text_in(value: Any) -> str:
    """QString: anything goes in through ``str``, so None becomes ``"None"``."""
    return str(value)


def texts_in(value: Any) -> tuple[str, ...]:
    """QStringList: any sequence goes in, a text as its characters, and a new tuple comes out."""
    if not isinstance(value, Iterable):
        raise TypeError("not a sequence")
    return tuple(str(item) for item in value)


def number_in(value: Any) -> float:
    """Double: numbers only."""
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)


def integer_in(value: Any) -> int:
    """Integer: whole numbers only."""
    if not isinstance(value, int):
        raise TypeError("not an integer")
    return int(value)


def flag_in(value: Any) -> bool:
    """Bool."""
    return bool(value)


class Property:
    """A Q_PROPERTY: typed, readable and, unless said otherwise, writable."""

    def __init__(self, default: Any, convert: Callable[[Any], Any] | None) -> None:
        self.default, self.convert = default, convert

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return instance.__dict__.get("_" + self.name, self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        if self.convert is None:
            raise AttributeError(f"Property {self.name!r} of type {type(instance).__name__!r} is not writable")
        try:
            instance.__dict__["_" + self.name] = self.convert(value)
        except TypeError as error:
            raise AttributeError(f"Property {self.name!r}: {value!r} has the wrong type") from error


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a method as one of C++: positional arguments only, ValueError for wrong ones."""

    @functools.wraps(function)
    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(f"Called {function.__name__}() with keyword arguments {sorted(keywords)}")
        count = function.__code__.co_argcount - 1
        least = count - len(function.__defaults__ or ())
        if not least <= len(arguments) <= count:
            raise ValueError(f"Called {function.__name__}({', '.join(map(repr, arguments))}) with wrong arguments")
        return function(self, *arguments)

    return call


class QtObject:
    """Base of the stand-ins: creating new attributes on C++ objects is not allowed.

    Names with a leading underscore are the stand-in's own, for its methods and for tests.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), Property):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r} and creating one is not allowed")
        object.__setattr__(self, name, value)
