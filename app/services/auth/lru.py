"""Thread-safe LRU cache with a fixed capacity."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRUCache(Generic[Value]):
    """Maps names to values; drops the least recently used entry beyond `capacity` entries."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
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
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)

    def remove(self, name: str) -> None:
        with self._lock:
            self._values.pop(name, None)

    def __len__(self) -> int:
        return len(self._values)
