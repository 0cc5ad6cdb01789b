"""lrnde in PyTorch Lightning: `LogSolves`, a callback that logs what the solves of a training cost."""

from lrnde_lightning._log_solves import LogSolves

__all__ = ["LogSolves"]
