"""A worker of a Dask cluster whose trainers compute nothing: `python -m tests.benchmarks.cluster_worker ADDRESS DIR`.

What it trains it notes in DIR/log. One training waits, halfway, until DIR/released is there.
"""

import asyncio
import functools
import os
import sys
import time
from pathlib import Path
from typing import Any

from distributed import Worker

from lrnde_benchmarks._backends._trainer import Spent
from lrnde_benchmarks._cells import _cell, _cluster
from tests.benchmarks.conftest import StubTrainer

# The training that waits: setting, seed, and the iterations done by then.
_HELD = ("default", 0, 2)


def make_trainer(folder: Path, _adapter: Any, _problem: Any, _own: Any, setting: Any, _data: Any, seed: int) -> Any:
    """See the module."""
    trainer = StubTrainer(setting.name, log=[])
    bare = trainer.train

    def train(num_steps: int) -> Spent:
        done = trainer.steps_done
        if (setting.name, seed, done) == _HELD:
            (folder / "held").write_text(f"{os.getpid()}\n")
            while not (folder / "released").exists():
                time.sleep(0.05)
        spent = bare(num_steps)
        with (folder / "log").open("a") as log:
            log.write(f"{setting.name}:{seed}:{done}:{os.getpid()}\n")
        return spent

    trainer.train = train
    return trainer


async def _serve(address: str, folder: Path) -> None:
    async with Worker(address, nthreads=1, memory_limit=0, local_directory=str(folder), dashboard=False) as worker:
        await worker.finished()


if __name__ == "__main__":
    _folder = Path(sys.argv[2])
    _cell.make_trainer = functools.partial(make_trainer, _folder)  # pyright: ignore[reportPrivateImportUsage]
    # Looking for them loads every backend.
    _cluster.installed_versions = lambda _adapter: {}  # pyright: ignore[reportPrivateImportUsage]
    asyncio.run(_serve(sys.argv[1], _folder))
