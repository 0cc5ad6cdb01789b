"""Models, tasks and training loops of `lrnde compare`, `lrnde benchmark` and the sweeps behind the defaults.

Importing it imports numpy, scipy, scikit-learn and matplotlib where they are needed, and torch or jax only in the
modules of their own that `make_trainer` loads.
"""

from lrnde_benchmarks._choices import Options, make_plan
from lrnde_benchmarks._compare import Comparison, run_comparison
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import Rivals, setting_by_name
from lrnde_benchmarks._plan import Job, Plan
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._store import Store, make_store
from lrnde_benchmarks._task import AbstractProblem, Task
from lrnde_benchmarks._tasks import task_by_name
from lrnde_benchmarks._trained import load_trainers
from lrnde_benchmarks._trainer import Evaluation, Trainer, make_trainer
from lrnde_benchmarks._workers import ComparisonError

__all__ = [
    "AbstractProblem",
    "Comparison",
    "ComparisonError",
    "Evaluation",
    "Hyperparameters",
    "Job",
    "Options",
    "Penalty",
    "Plan",
    "Rivals",
    "Setting",
    "Store",
    "Task",
    "Trainer",
    "load_trainers",
    "make_plan",
    "make_store",
    "make_trainer",
    "run_comparison",
    "setting_by_name",
    "task_by_name",
]
