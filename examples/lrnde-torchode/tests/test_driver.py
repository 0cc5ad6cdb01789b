"""The suite's reading of a solve that failed."""

import torch
import torchode

from lrnde_torchode._conformance import TorchodeDriver


def test_outputs_that_were_never_written_are_not_a_number() -> None:
    # torchode leaves them as `torch.empty` made them: here as 1.
    failed = torchode.Solution(
        ts=torch.zeros(2, 3),
        ys=torch.ones(2, 3, 4),
        stats={"n_initialized": torch.tensor([1, 3])},
        status=torch.tensor([1, 0]),
    )
    states = TorchodeDriver("cpu").states(failed)
    assert states.isnan().all(-1).T.tolist() == [[False, True, True], [False, False, False]]
