"""Locally regularized neural differential equations: make a neural ODE or SDE cheap to solve while it trains.

    odeint = lrnde.regularize(torchdiffeq.odeint)
    ys, report = odeint(func, y0, t)
    loss = task_loss(ys) + weight * report.penalty

See `regularize`.
"""

from lrnde_core import _presets as presets
from lrnde_core._adapter import (
    ADAPTER_API,
    AbstractAdapter,
    AbstractCall,
    Counts,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
)
from lrnde_core._backward_count import BackwardCount
from lrnde_core._capabilities import SDE_CAPABILITIES, Capabilities, Capability
from lrnde_core._collect import accompany_collect, collect, is_collecting
from lrnde_core._collected import CollectedSolve, collected
from lrnde_core._describe import described
from lrnde_core._errors import (
    AdapterNotFoundError,
    CapabilityError,
    InputError,
    InputTypeError,
    LrndeError,
    PluginError,
    PluginWarning,
    ResolutionWarning,
    TargetWarning,
    UncollectedWarning,
    UnknownNameError,
    UnknownPresetError,
)
from lrnde_core._every_step import AllSteps, Integral
from lrnde_core._explicit import (
    AbstractStages,
    doubled_step,
    explicit_advance,
    explicit_nodes,
    explicit_step,
    largest_magnitude,
    read_stages,
)
from lrnde_core._fixed_methods import EULER, FIXED_METHODS, FixedMethod
from lrnde_core._freeze import apply_plan, freeze
from lrnde_core._freeze_report import Candidate, FreezeReport, Trial
from lrnde_core._freeze_sde import apply_sde_plan, freeze_sde
from lrnde_core._freezing import AbstractCalibrator, AbstractFreezer, AbstractSDEFreezer, FrozenRun, NativeSolve
from lrnde_core._frozen_steps import FrozenSolution, GuardSignals, follow_plan, is_flagged
from lrnde_core._heuristics import (
    AbstractHeuristic,
    ErrorEstimate,
    Evaluations,
    PredictedSteps,
    StiffnessEstimate,
    WeightedSum,
)
from lrnde_core._hiding import hide_calls, user_stacklevel
from lrnde_core._hookspecs import AdapterSpec, hookimpl
from lrnde_core._local import (
    AbstractLocalProblem,
    Leaves,
    LocalState,
    QuadratureNode,
    StepEstimate,
    mean_square,
    root_mean_square,
)
from lrnde_core._nfe_target import NFETarget, NFETargetState
from lrnde_core._penalty import LocalPenalty, PenaltyTerm
from lrnde_core._plan import Plan
from lrnde_core._planned_times import PlannedTimes
from lrnde_core._point_heuristics import AbstractPointHeuristic, JacobianNorm, KineticEnergy, TaylorDerivative
from lrnde_core._random_states import random_fingerprint, random_states_kept
from lrnde_core._registry import REGISTRY, AdapterInfo, PluginFailure
from lrnde_core._regularize import RegularizedSolve, regularize
from lrnde_core._report import Report, Sample
from lrnde_core._reservoir import noise_seed
from lrnde_core._resolution import count_unresolved, warn_if_unresolved
from lrnde_core._samplers import (
    AbstractSampler,
    AcceptedStep,
    Draw,
    DrawnStep,
    UniformStep,
    UniformTime,
)
from lrnde_core._sde_plan import SDEFreezeReport, SDEPlan, SDETrial, WeakError
from lrnde_core._span import Span
from lrnde_core._tableau import ExplicitTableau
from lrnde_core._weights import AbstractWeight, Constant, ExponentialDecay, WeightState

register = REGISTRY.register
list_adapters = REGISTRY.list_adapters
get_adapter = REGISTRY.get_adapter

__all__ = [
    "ADAPTER_API",
    "EULER",
    "FIXED_METHODS",
    "SDE_CAPABILITIES",
    "AbstractAdapter",
    "AbstractCalibrator",
    "AbstractCall",
    "AbstractFreezer",
    "AbstractHeuristic",
    "AbstractLocalProblem",
    "AbstractPointHeuristic",
    "AbstractSDEFreezer",
    "AbstractSampler",
    "AbstractStages",
    "AbstractWeight",
    "AcceptedStep",
    "AdapterInfo",
    "AdapterNotFoundError",
    "AdapterSpec",
    "AllSteps",
    "BackwardCount",
    "Candidate",
    "Capabilities",
    "Capability",
    "CapabilityError",
    "CollectedSolve",
    "Constant",
    "Counts",
    "Draw",
    "DrawnStep",
    "ErrorEstimate",
    "Evaluations",
    "ExplicitTableau",
    "ExponentialDecay",
    "FixedMethod",
    "FreezeReport",
    "FrozenRun",
    "FrozenSolution",
    "GuardSignals",
    "InputError",
    "InputTypeError",
    "Integral",
    "JacobianNorm",
    "KineticEnergy",
    "Leaves",
    "LocalPenalty",
    "LocalState",
    "LrndeError",
    "MethodFacts",
    "NFETarget",
    "NFETargetState",
    "NativeSolve",
    "PenaltyTerm",
    "Plan",
    "PlannedTimes",
    "PluginError",
    "PluginFailure",
    "PluginWarning",
    "PredictedSteps",
    "QuadratureNode",
    "Record",
    "Recording",
    "RecordingPlan",
    "RegularizedSolve",
    "Report",
    "ResolutionWarning",
    "Run",
    "SDEFreezeReport",
    "SDEPlan",
    "SDETrial",
    "Sample",
    "Span",
    "StepEstimate",
    "StiffnessEstimate",
    "TargetWarning",
    "TaylorDerivative",
    "Trial",
    "UncollectedWarning",
    "UniformStep",
    "UniformTime",
    "UnknownNameError",
    "UnknownPresetError",
    "WeakError",
    "WeightState",
    "WeightedSum",
    "accompany_collect",
    "apply_plan",
    "apply_sde_plan",
    "collect",
    "collected",
    "count_unresolved",
    "described",
    "doubled_step",
    "explicit_advance",
    "explicit_nodes",
    "explicit_step",
    "follow_plan",
    "freeze",
    "freeze_sde",
    "get_adapter",
    "hide_calls",
    "hookimpl",
    "is_collecting",
    "is_flagged",
    "largest_magnitude",
    "list_adapters",
    "mean_square",
    "noise_seed",
    "presets",
    "random_fingerprint",
    "random_states_kept",
    "read_stages",
    "register",
    "regularize",
    "root_mean_square",
    "user_stacklevel",
    "warn_if_unresolved",
]
