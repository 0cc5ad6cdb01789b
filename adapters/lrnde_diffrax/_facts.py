"""What is known of a `diffeqsolve` call before it runs."""

from lrnde_core import MethodFacts
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._controllers import controller_error_order, is_adaptive
from lrnde_diffrax._method import Method, local_evaluations
from lrnde_diffrax._refusals import unsupported
from lrnde_diffrax._solvers import solver_name
from lrnde_diffrax._terms import drift_terms, is_sde


def method_facts(arguments: Arguments, method: Method) -> MethodFacts:
    """The facts of the method of a call."""
    solver, terms = method.local_solver, arguments["terms"]
    controller, tableau = arguments["stepsize_controller"], method.tableau
    stability_interval = None
    if tableau is not None and tableau.has_stiffness_pair and not method.is_doubled:
        stability_interval = tableau.real_stability_interval
    is_stochastic = is_sde(terms)
    evaluations_per_step, evaluations_per_advance = local_evaluations(arguments, method)
    error_order = controller_error_order(controller)
    if error_order is None:
        error_order = float(solver.error_order(terms) or 1)
    return MethodFacts(
        name=solver_name(method.solver),
        # Only restarted steps ask for it, which noise excludes.
        order=1 if is_stochastic else solver.order(terms) or 1,
        error_order=error_order,
        stability_interval=stability_interval,
        evaluations_per_step=evaluations_per_step,
        evaluations_per_advance=evaluations_per_advance,
        is_adaptive=is_adaptive(controller),
        unsupported=tuple(unsupported(arguments, method, has_stiffness_pair=stability_interval is not None)),
        # An ordinary field counts as one evaluation, whatever it is made of.
        evaluations_per_point=len(drift_terms(terms)) if is_stochastic else 1,
        is_stochastic=is_stochastic,
        has_taylor_mode=True,
        tableau=tableau,
    )
