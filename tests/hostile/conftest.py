"""What the tests of the kernel have: every attach type, attached and proved."""

from tests.kernel.conftest import pytest_pyfunc_call, tracing

__all__ = ["pytest_pyfunc_call", "tracing"]
