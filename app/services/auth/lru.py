"""A dictionary that holds so much and no more: what was not used for longest goes first. Safe with threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, name: str) -> Value | None:
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def put(self, name: str, value: Value) -> None:
        with self._lock:
            self._values[name] = value
            self._values.move_to_end(name)
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def forget(self, name: str) -> None:
        with self._lock:
            self._values.pop(name, None)

    def __len__(self) -> int:
        return len(self._values)
