"""The cases that checks run on: methods, and methods with costs."""

from collections.abc import Callable, Sequence

from lrnde_conformance._experiments._designs import main_problem
from lrnde_conformance._experiments._experiment import COSTS
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import oracle
from lrnde_conformance._oracles._schemes import SCHEMES


def method_cases(subject: Subject) -> list[str]:
    """One case for each method."""
    return [method.name for method in subject.methods]


def unless_lean(cases: Callable[[Subject], Sequence[str]] = lambda _: ("",)) -> Callable[[Subject], Sequence[str]]:
    """The cases; none where only what is most telling is to run."""
    return lambda subject: () if subject.is_lean else cases(subject)


def unless_compiled(cases: Callable[[Subject], Sequence[str]]) -> Callable[[Subject], Sequence[str]]:
    """The cases; none where each needs a separate program; the adapter's tests cover those."""
    return lambda subject: () if subject.backend.is_compiled else cases(subject)


def few_method_cases(subject: Subject) -> list[str]:
    """One case for each method; where each is compiled anew only for those that differ most, the main one if lean."""
    methods = subject.methods
    if subject.is_lean:
        methods = (subject.main_method,)
    elif subject.backend.is_compiled:
        methods = tuple(m for m in methods if m in subject.main_methods or m.is_implicit)
    return [method.name for method in methods]


def of_method_case(subject: Subject, case: str) -> Method:
    """The method of a case."""
    return next(method for method in subject.driver.methods if method.name == case)


def costs(subject: Subject, method: Method) -> list[str]:
    """The costs that a method has and the adapter offers, by name."""
    names = [name for name, heuristic in COSTS.items() if all(subject.supports(need) for need in heuristic.needs)]
    if method.is_stochastic or method.is_implicit:
        names = [name for name in names if name not in ("stiffness", "taylor")]
    if method.control is not None:
        # Not every library has the derivative of a control.
        names = [name for name in names if not name.startswith("taylor")]
    if "stiffness" in names and not (method.scheme in SCHEMES and SCHEMES[method.scheme].has_pair):
        names.remove("stiffness")
    if subject.backend.is_compiled and method not in subject.main_methods:
        names = names[:1]
    if subject.is_lean:
        names = [name for name in names if name in ("error", "taylor-at-step")]
        names = names if method is subject.main_method else names[:1]
    return names


def every_cost_case(subject: Subject) -> list[str]:
    """One case for each method and each cost it has."""
    return [f"{method.name}-{cost}" for method in subject.methods for cost in costs(subject, method)]


def cost_cases(subject: Subject) -> list[str]:
    """One case for each method whose scheme is published, and each cost it has."""
    return [
        f"{method.name}-{cost}"
        for method in subject.methods
        if has_oracle(subject, method)
        for cost in costs(subject, method)
    ]


def has_oracle(subject: Subject, method: Method) -> bool:
    """Whether the penalty can be computed; not where fixed steps are halved by noise of the adapter's own."""
    is_bridged = method.is_stochastic and not method.is_adaptive and subject.driver.bridges_fixed_steps
    return not is_bridged and oracle(main_problem(subject, method), method, 1.0, 1.0) is not None


def local_step_check(subject: Subject, method: Method, cost: str) -> str:
    """The id of the check that compares the gradient with the published scheme; empty where none is known."""
    return f"gradient.local-step-{method.name}-{cost}" if has_oracle(subject, method) else ""


def of_cost_case(subject: Subject, case: str) -> tuple[Method, str]:
    """Method and cost of a case."""
    for method in subject.driver.methods:
        cost = case.removeprefix(f"{method.name}-")
        if cost in COSTS and cost != case:
            return method, cost
    msg = f"no method and cost are called {case!r}"
    raise AssertionError(msg)
