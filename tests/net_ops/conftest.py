"""Fixtures of the operations of nets."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def with_threads() -> Callable[[int, Callable[[], Any]], Any]:
    """``with_threads(n, f)``: what f returns when at most n threads may compute (the machine may have fewer)."""
    controller = pytest.importorskip("threadpoolctl").ThreadpoolController()

    def run(count: int, function: Callable[[], Any]) -> Any:
        with controller.limit(limits=count):
            return function()

    return run
