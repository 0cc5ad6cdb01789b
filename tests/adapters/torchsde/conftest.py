"""One thread for all tests here: tensors are small, and the machine is shared."""

from collections.abc import Generator

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Generator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
