"""The contract of the backends on a GPU."""

import pytest

from tests.contract import test_generator, test_verifier

pytestmark = [pytest.mark.gpu, pytest.mark.vllm]

globals().update(
    (name, test)
    for module in (test_generator, test_verifier)
    for name, test in vars(module).items()
    if name.startswith("test_")
)
