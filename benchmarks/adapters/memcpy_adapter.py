"""The machine's own speed: the same copies between two private NumPy arrays, with no sharing at all."""

from __future__ import annotations

from typing import Any

from benchmarks.adapters.base import Adapter


class Memcpy(Adapter):
    name = "memcpy"
    package = "numpy"
    distribution = "numpy"
    note = "`np.copyto` between two private arrays of the same size"

    def array(self, method: str, length: int) -> Any:
        import numpy as np

        return np.zeros(length, np.intc)

    def as_numpy(self, array: Any) -> Any:
        return array

    def as_memoryview(self, array: Any) -> memoryview:
        return memoryview(array)
