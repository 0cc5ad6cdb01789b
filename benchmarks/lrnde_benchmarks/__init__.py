"""Models, tasks and training loops of `lrnde compare`, `lrnde benchmark` and the sweeps behind the defaults.

Importing it imports numpy, scipy, scikit-learn and matplotlib where they are needed, and torch or jax only in the
training loops that `make_trainer` loads.
"""

from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Evaluation, Trainer
from lrnde_benchmarks._cells._pool import ComparisonError
from lrnde_benchmarks._cells._reloading import load_trainers
from lrnde_benchmarks._cells._store import Store, make_store
from lrnde_benchmarks._commands._options import Options, make_study
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import METHOD_NAMES, Tuning, setting_by_name
from lrnde_benchmarks._reports._comparison import Comparison, run_comparison
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._by_name import TASKS, task_by_name
from lrnde_benchmarks._tasks._task import AbstractProblem, BenchmarkTask

__all__ = [
    "METHOD_NAMES",
    "TASKS",
    "AbstractProblem",
    "BenchmarkTask",
    "Comparison",
    "ComparisonError",
    "Evaluation",
    "Hyperparameters",
    "Job",
    "Options",
    "Penalty",
    "Setting",
    "Store",
    "Study",
    "Trainer",
    "Tuning",
    "load_trainers",
    "make_store",
    "make_study",
    "make_trainer",
    "run_comparison",
    "setting_by_name",
    "task_by_name",
]
