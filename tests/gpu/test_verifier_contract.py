"""The contract of verifiers on a GPU."""

import pytest

from tests.contract import test_verifier

pytestmark = [pytest.mark.gpu, pytest.mark.vllm]

globals().update(
    (name, test) for name, test in vars(test_verifier).items() if name.startswith("test_")
)
