"""Locally regularized neural differential equations: make a neural ODE or SDE cheap to solve while it trains.

    odeint = lrnde.regularize(torchdiffeq.odeint)
    ys, report = odeint(func, y0, t)
    loss = task_loss(ys) + weight * report.penalty

See `regularize`. Authors of adapters import `lrnde_core`.
"""

from lrnde_core import (
    AdapterNotFoundError,
    AllSteps,
    Candidate,
    CapabilityError,
    CheckedPlan,
    CheckedSteps,
    Constant,
    Diagnosis,
    ErrorEstimate,
    ExponentialDecay,
    FixedSteps,
    FreezeReport,
    GradientRatio,
    InputError,
    InputTypeError,
    Integral,
    JacobianNorm,
    KineticEnergy,
    LrndeError,
    NFETarget,
    PenaltyError,
    Plan,
    PluginError,
    PluginWarning,
    PredictedSteps,
    RegularizedSolve,
    Report,
    ResolutionWarning,
    Sample,
    SDEFreezeReport,
    SDEPlan,
    StiffnessEstimate,
    TargetWarning,
    TaylorDerivative,
    UncollectedWarning,
    UniformStep,
    UniformTime,
    UnknownNameError,
    __version__,
    apply_plan,
    apply_sde_plan,
    collect,
    collected,
    diagnose,
    freeze,
    freeze_sde,
    list_adapters,
    presets,
    register,
    regularize,
)

__all__ = [
    "AdapterNotFoundError",
    "AllSteps",
    "Candidate",
    "CapabilityError",
    "CheckedPlan",
    "CheckedSteps",
    "Constant",
    "Diagnosis",
    "ErrorEstimate",
    "ExponentialDecay",
    "FixedSteps",
    "FreezeReport",
    "GradientRatio",
    "InputError",
    "InputTypeError",
    "Integral",
    "JacobianNorm",
    "KineticEnergy",
    "LrndeError",
    "NFETarget",
    "PenaltyError",
    "Plan",
    "PluginError",
    "PluginWarning",
    "PredictedSteps",
    "RegularizedSolve",
    "Report",
    "ResolutionWarning",
    "SDEFreezeReport",
    "SDEPlan",
    "Sample",
    "StiffnessEstimate",
    "TargetWarning",
    "TaylorDerivative",
    "UncollectedWarning",
    "UniformStep",
    "UniformTime",
    "UnknownNameError",
    "__version__",
    "apply_plan",
    "apply_sde_plan",
    "collect",
    "collected",
    "diagnose",
    "freeze",
    "freeze_sde",
    "list_adapters",
    "presets",
    "register",
    "regularize",
]


def _adopt(names: list[str]) -> None:
    """Make tracebacks and documentation name things as users import them."""
    for name in names:
        value = globals()[name]
        # Not strings, modules or bound methods.
        if hasattr(value, "__qualname__") and not hasattr(value, "__self__"):
            value.__module__ = __name__


_adopt(__all__)
