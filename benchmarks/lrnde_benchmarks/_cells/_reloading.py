"""Finished cells whose models predict again."""

from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Trainer
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._study import Job


def load_trainers(store: Store, job: Job) -> dict[str, Trainer]:
    """The trained models of a finished cell by name, without training anything.

    They predict, are evaluated and frozen as at the end of their training. Raises `InputError` where the cell is not
    finished, or its weights are not those that it was finished with.
    """
    study = store.study
    weights = store.read_weights(job)
    data = study.task.problem.load(study.hyperparameters, job.seed, study.fold(job.seed))
    trainers: dict[str, Trainer] = {}
    for setting in job.settings:
        if setting.name in weights:
            trainer = make_trainer(job.adapter, study.task.problem, study.hyperparameters, setting, data, job.seed)
            trainer.load(weights[setting.name])
            trainers[setting.name] = trainer
    return trainers
