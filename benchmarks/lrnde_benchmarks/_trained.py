"""Finished cells whose models predict again."""

from lrnde_benchmarks._plan import Job
from lrnde_benchmarks._store import Store
from lrnde_benchmarks._trainer import Trainer, make_trainer


def load_trainers(store: Store, job: Job) -> dict[str, Trainer]:
    """The trained models of a finished cell by name, without training anything.

    They predict, are evaluated and frozen as at the end of their training. Raises `InputError` where the cell is not
    finished, or its weights are not those that it was finished with.
    """
    plan = store.plan
    weights = store.read_weights(job)
    data = plan.task.problem.load(plan.hyperparameters, job.seed, plan.fold(job.seed))
    trainers: dict[str, Trainer] = {}
    for setting in job.settings:
        if setting.name in weights:
            trainer = make_trainer(job.adapter, plan.task.problem, plan.hyperparameters, setting, data, job.seed)
            trainer.load(weights[setting.name])
            trainers[setting.name] = trainer
    return trainers
