"""Locally regularized neural differential equations: make a neural ODE or SDE cheap to solve while it trains.

    odeint = lrnde.regularize(torchdiffeq.odeint)
    ys, report = odeint(func, y0, t)
    loss = task_loss(ys) + weight * report.penalty

This package is the protocol, and the contract that adapters implement. Users import `lrnde`.
"""

from lrnde_core import presets
from lrnde_core._adapter import AbstractAdapter
from lrnde_core._arrays import (
    Array,
    Bits,
    Count,
    DType,
    Flags,
    Leaf,
    Leaves,
    Members,
    Number,
    OfMembers,
    OfSamples,
    Real,
    Scalar,
    Signal,
    State,
    Time,
    Tolerance,
    Truth,
    is_traced,
    mean_square,
    root_mean_square,
)
from lrnde_core._call import AbstractCall, CallChange, RecordingPlan, Run
from lrnde_core._capabilities import (
    ADAPTER_API,
    SDE_CAPABILITIES,
    AnyCapability,
    Capabilities,
    Capability,
    ExtraCapability,
)
from lrnde_core._checks import check_count
from lrnde_core._claims import NativeArgument, NativeArguments, NativeFunction, NativeKeywords, NativeResult
from lrnde_core._collected import CollectedSolve, collected
from lrnde_core._diagnosis._diagnose import diagnose
from lrnde_core._diagnosis._diagnosis import Diagnosis, Finding, FindingKind
from lrnde_core._draws import noise_seed
from lrnde_core._errors import (
    AdapterNotFoundError,
    CapabilityError,
    InputError,
    InputTypeError,
    LrndeError,
    PenaltyError,
    PluginError,
    PluginWarning,
    ResolutionWarning,
    TargetWarning,
    UncollectedWarning,
    UnknownNameError,
    UnknownPresetError,
    WeightWarning,
    described,
    native_errors,
    penalty_errors,
)
from lrnde_core._explicit import (
    AbstractStages,
    doubled_step,
    explicit_advance,
    explicit_nodes,
    explicit_step,
    largest_magnitude,
    read_stages,
)
from lrnde_core._files import write_bytes, write_text
from lrnde_core._heuristics import (
    AbstractHeuristic,
    ErrorEstimate,
    Evaluations,
    PredictedSteps,
    StiffnessEstimate,
    WeightedSum,
)
from lrnde_core._hookspecs import AdapterSpec, hookimpl
from lrnde_core._local import LocalState, Tolerances
from lrnde_core._method import MethodFacts
from lrnde_core._nfe_target import NFETarget, NFETargetState
from lrnde_core._penalty import LocalPenalty, PenaltyTerm, sampled_fraction
from lrnde_core._plans._call_form import CallForm, interval_length
from lrnde_core._plans._check import Gradient, Solved
from lrnde_core._plans._checked_plan import AbstractPlanHolder, CheckedPlan
from lrnde_core._plans._checked_steps import CheckedSteps
from lrnde_core._plans._contract import AbstractCalibrator, AbstractFreezer, AbstractSDEFreezer, FrozenRun, NativeSolve
from lrnde_core._plans._freeze import apply_plan, freeze
from lrnde_core._plans._freeze_sde import apply_sde_plan, freeze_sde
from lrnde_core._plans._of_steps import AbstractOfSteps
from lrnde_core._plans._plan import FixedSteps, Plan, SDEPlan, check_not_longer, describe_longest, is_longer
from lrnde_core._plans._report import Candidate, FreezeReport, SDEFreezeReport, SDETrial, Trial, WeakError
from lrnde_core._plans._stepped import AbstractSteppedCall, Followed, PlanRecorder
from lrnde_core._plans._steps import (
    GuardSignals,
    StepTaken,
    follow_steps,
    guard_signals,
    is_flagged,
    outputs_inside,
    take_step,
)
from lrnde_core._point_heuristics import AbstractPointHeuristic, JacobianNorm, KineticEnergy, TaylorDerivative
from lrnde_core._problem import AbstractLocalProblem, Carry, QuadratureNode, StepEstimate
from lrnde_core._random_states import RandomSource, random_fingerprint, random_states_kept
from lrnde_core._recording import BackwardCount, Counts, KeptStep, KeptSteps, Record, Recording, Records, StepData
from lrnde_core._registry import REGISTRY, AdapterInfo, PluginFailure
from lrnde_core._regularize import RegularizedSolve, regularize
from lrnde_core._report import (
    Report,
    Sample,
    accompany_collect,
    check_penalized,
    collect,
    is_collecting,
    listed_reports,
    summed_penalty,
    uncollected,
)
from lrnde_core._resolution import count_unresolved, warn_if_unresolved
from lrnde_core._samplers import (
    AbstractSampler,
    AcceptedStep,
    AllSteps,
    Draw,
    DrawnStep,
    Integral,
    UniformStep,
    UniformTime,
)
from lrnde_core._tableau import EULER, FIXED_METHODS, ExplicitTableau, FixedMethod
from lrnde_core._weights import (
    AbstractWeight,
    AnyWeightState,
    Constant,
    ExponentialDecay,
    GradientNorms,
    GradientRatio,
    GradientRatioState,
    WeightState,
    check_is_weight,
)
from lrnde_core._wrapping import calling_frame, hide_calls, warn_at_call

__version__ = "0.1.0"

register = REGISTRY.register
"""Register a plugin at run time: a module or object with `lrnde_*` hook implementations. See `PluginError`."""
list_adapters = REGISTRY.list_adapters
"""List all registered adapters as `AdapterInfo`s, usable or not, and all plugins that could not be loaded."""
get_adapter = REGISTRY.get_adapter
"""Return the adapter of this name; imports its library on first use."""

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
    "AbstractOfSteps",
    "AbstractPlanHolder",
    "AbstractPointHeuristic",
    "AbstractSDEFreezer",
    "AbstractSampler",
    "AbstractStages",
    "AbstractSteppedCall",
    "AbstractWeight",
    "AcceptedStep",
    "AdapterInfo",
    "AdapterNotFoundError",
    "AdapterSpec",
    "AllSteps",
    "AnyCapability",
    "AnyWeightState",
    "Array",
    "BackwardCount",
    "Bits",
    "CallChange",
    "CallForm",
    "Candidate",
    "Capabilities",
    "Capability",
    "CapabilityError",
    "Carry",
    "CheckedPlan",
    "CheckedSteps",
    "CollectedSolve",
    "Constant",
    "Count",
    "Counts",
    "DType",
    "Diagnosis",
    "Draw",
    "DrawnStep",
    "ErrorEstimate",
    "Evaluations",
    "ExplicitTableau",
    "ExponentialDecay",
    "ExtraCapability",
    "Finding",
    "FindingKind",
    "FixedMethod",
    "FixedSteps",
    "Flags",
    "Followed",
    "FreezeReport",
    "FrozenRun",
    "Gradient",
    "GradientNorms",
    "GradientRatio",
    "GradientRatioState",
    "GuardSignals",
    "InputError",
    "InputTypeError",
    "Integral",
    "JacobianNorm",
    "KeptStep",
    "KeptSteps",
    "KineticEnergy",
    "Leaf",
    "Leaves",
    "LocalPenalty",
    "LocalState",
    "LrndeError",
    "Members",
    "MethodFacts",
    "NFETarget",
    "NFETargetState",
    "NativeArgument",
    "NativeArguments",
    "NativeFunction",
    "NativeKeywords",
    "NativeResult",
    "NativeSolve",
    "Number",
    "OfMembers",
    "OfSamples",
    "PenaltyError",
    "PenaltyTerm",
    "Plan",
    "PlanRecorder",
    "PluginError",
    "PluginFailure",
    "PluginWarning",
    "PredictedSteps",
    "QuadratureNode",
    "RandomSource",
    "Real",
    "Record",
    "Recording",
    "RecordingPlan",
    "Records",
    "RegularizedSolve",
    "Report",
    "ResolutionWarning",
    "Run",
    "SDEFreezeReport",
    "SDEPlan",
    "SDETrial",
    "Sample",
    "Scalar",
    "Signal",
    "Solved",
    "State",
    "StepData",
    "StepEstimate",
    "StepTaken",
    "StiffnessEstimate",
    "TargetWarning",
    "TaylorDerivative",
    "Time",
    "Tolerance",
    "Tolerances",
    "Trial",
    "Truth",
    "UncollectedWarning",
    "UniformStep",
    "UniformTime",
    "UnknownNameError",
    "UnknownPresetError",
    "WeakError",
    "WeightState",
    "WeightWarning",
    "WeightedSum",
    "accompany_collect",
    "apply_plan",
    "apply_sde_plan",
    "calling_frame",
    "check_count",
    "check_is_weight",
    "check_not_longer",
    "check_penalized",
    "collect",
    "collected",
    "count_unresolved",
    "describe_longest",
    "described",
    "diagnose",
    "doubled_step",
    "explicit_advance",
    "explicit_nodes",
    "explicit_step",
    "follow_steps",
    "freeze",
    "freeze_sde",
    "get_adapter",
    "guard_signals",
    "hide_calls",
    "hookimpl",
    "interval_length",
    "is_collecting",
    "is_flagged",
    "is_longer",
    "is_traced",
    "largest_magnitude",
    "list_adapters",
    "listed_reports",
    "mean_square",
    "native_errors",
    "noise_seed",
    "outputs_inside",
    "penalty_errors",
    "presets",
    "random_fingerprint",
    "random_states_kept",
    "read_stages",
    "register",
    "regularize",
    "root_mean_square",
    "sampled_fraction",
    "summed_penalty",
    "take_step",
    "uncollected",
    "warn_at_call",
    "warn_if_unresolved",
    "write_bytes",
    "write_text",
]
