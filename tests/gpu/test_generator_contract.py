"""The contract of generators on a GPU."""

import pytest

from tests.contract import test_generator

pytestmark = [pytest.mark.gpu, pytest.mark.vllm]

globals().update(
    (name, test) for name, test in vars(test_generator).items() if name.startswith("test_")
)
