"""Running one call of a torch library, bare or wrapped."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from calls import BUDGET, Call
from endings import OWN_WARNINGS, PHASE, Ending, described, disagreements
from penalties import draws_number
from traces import fingerprint, process_settings, random_states, seed_everything, tensor_bytes

import lrnde

LIMIT = 250
"""Evaluations of a field in the bare call, and in its gradient, before it is ended."""

WEIGHT = 0.3


def judge(make: Callable[[], Call], seed: int) -> tuple[Call, Ending, Ending, list[str]]:
    """A call, how it ends bare and wrapped, and where the two disagree."""

    def made() -> Call:
        seed_everything(seed)
        return make()

    call = made()
    draws = call.mode != "outside" and draws_number(call.settings, call.extras, "generator")
    bare = run_bare(made(), seed, draws=draws)
    wrapped = run_wrapped(call, seed, bare)
    if wrapped.error_of_total is not None and call.raises_at is None:
        # What a field writes to may not be differentiated twice, bare or not: once more, with one backward pass.
        again = run_wrapped(made(), seed, bare, is_total_alone=True)
        wrapped.finite = again.finite
        if again.error_of_total is not None:
            wrapped.faults.append(f"gradient with the penalty ended in {again.error_of_total}")
    if draws:
        seed_everything(seed)
        _draw(call)
        wrapped.drawn = {
            name: state for name, state in _left(call, "motion").items() if name == "random state of torch"
        }
    found = disagreements(bare, wrapped, call)
    if found and wrapped.outcome != "result" and draws:
        # What is refused, or fails before the solve, need not have drawn.
        found = min(found, disagreements(run_bare(made(), seed, draws=False), wrapped, call), key=len)
    return call, bare, wrapped, found


def _draw(call: Call) -> None:
    """The one draw of a regularized call that is given no random numbers (law 12)."""
    num_samples = call.settings.get("num_samples", 1)
    if call.mode == "regularize" and type(num_samples) is int and num_samples > 0:
        torch.rand(num_samples)


def run_bare(call: Call, seed: int, *, draws: bool) -> Ending:
    """The bare call, with the documented draw of the wrapped one: before the solve, or where its block ends."""
    seed_everything(seed)
    if draws:
        _draw(call)
    ending, PHASE["now"] = Ending(), "bare"
    BUDGET.allow(LIMIT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = process_settings()
        result: Any = None
        try:
            result = call.solve(*call.args, **call.kwargs)
            ending.evaluations = BUDGET.spent
            _read_result(ending, result)
        except Exception as exc:
            ending.evaluations = ending.evaluations or BUDGET.spent
            ending.raised(exc)
        if draws and call.mode == "collect":
            torch.randint(2**62, ())
        ending.left_by_solve = _left(call, "motion")
        if ending.error is None:
            _read_gradient(ending, call, result, None, LIMIT, LIMIT)
        _read_left(ending, call, before)
    ending.warned = {described(each.message) for each in caught}
    return ending


def run_wrapped(call: Call, seed: int, bare: Ending, *, is_total_alone: bool = False) -> Ending:
    """The wrapped call, whose solve may evaluate the field as often as the bare one did.

    - `is_total_alone`: whether only the gradient of result and penalty together is taken.
    """
    seed_everything(seed)
    PHASE["now"] = "wrapped"
    ending = Ending(untouched=_left(call, "motion"))
    is_endless = bare.error is not None and bare.error[0] == "LimitError"
    BUDGET.allow(LIMIT if is_endless else 50 * LIMIT)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = process_settings()
        report = None
        try:
            result, report = _solve(call)
            _read_result(ending, result)
        except Exception as exc:
            ending.raised(exc)
        else:
            if report is not None:
                _check_report(ending, report, bare)
            penalty = None if report is None else report.penalty
            is_endless = bare.error_of_gradient is not None and bare.error_of_gradient[0] == "LimitError"
            read = _read_total if is_total_alone else _read_gradient
            read(ending, call, result, penalty, LIMIT if is_endless else 50 * LIMIT, 50 * LIMIT)
        _read_left(ending, call, before)
    own = tuple(kind.__name__ for kind in OWN_WARNINGS)
    seen = {described(each.message) for each in caught}
    ending.warned = {(kind, text) for kind, text in seen if kind not in own}
    return ending


def _solve(call: Call) -> tuple[Any, Any]:
    """The result, and the report where there is one."""
    if call.mode == "regularize":
        return lrnde.regularize(call.solve, **call.settings)(*call.args, **call.kwargs, **call.extras)
    wrapped = lrnde.collected(call.solve, **call.settings)
    if call.mode == "outside":
        return wrapped(*call.args, **call.kwargs, **call.extras), None
    with lrnde.collect() as reports:
        result = wrapped(*call.args, **call.kwargs, **call.extras)
    return result, reports[0] if reports else None


def _tensors(result: Any, name: str) -> dict[str, Any]:
    if isinstance(result, torch.Tensor):
        return {name: result}
    if isinstance(result, list | tuple):
        found: dict[str, Any] = {f"{name} as {type(result).__name__}": len(result)}
        for place, entry in enumerate(result):
            found |= _tensors(entry, f"{name}[{place}]")
        return found
    return {name: repr(result)}


def _bits(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.dtype, tuple(value.shape), value.requires_grad, tensor_bytes(value)


def _read_result(ending: Ending, result: Any) -> None:
    tensors = _tensors(result, "result")
    ending.values |= {name: _bits(value) for name, value in tensors.items()}
    ending.is_finite = all(_is_finite(value) for value in tensors.values() if isinstance(value, torch.Tensor))


def _loss(result: Any) -> torch.Tensor | None:
    parts = [
        each
        for each in _tensors(result, "result").values()
        if isinstance(each, torch.Tensor) and each.requires_grad and each.numel()
    ]
    if not parts:
        return None
    sums = [
        (part * torch.linspace(0.5, 1.5, part.numel(), dtype=part.real.dtype).reshape(part.shape)).sum()
        for part in parts
    ]
    return functools.reduce(torch.add, [each.real.double() for each in sums])


def _read_gradient(ending: Ending, call: Call, result: Any, penalty: Any, limit: int, limit_with_penalty: int) -> None:
    """The gradient of the result alone, and then that of the result and the penalty."""
    names, leaves = list(call.leaves), list(call.leaves.values())
    loss, gradients = _loss(result), [None] * len(leaves)
    if not leaves:
        return
    if loss is not None:
        BUDGET.allow(limit)
        try:
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=penalty is not None)
        except Exception as exc:
            ending.error_of_gradient = described(exc)
            return
    for name, gradient in zip(names, gradients, strict=True):
        ending.values[f"gradient of {name}"] = _bits(gradient)
        ending.finite[name] = _is_finite(gradient)
    ending.left = _left(call)
    _read_total(ending, call, result, penalty, limit, limit_with_penalty)


def _read_total(ending: Ending, call: Call, result: Any, penalty: Any, limit: int, limit_with_penalty: int) -> None:
    """The gradient of result and penalty together."""
    del limit
    names, leaves = list(call.leaves), list(call.leaves.values())
    if penalty is None or not penalty.requires_grad:
        return
    BUDGET.allow(limit_with_penalty)
    loss = _loss(result)
    total = WEIGHT * penalty.double() if loss is None else loss + WEIGHT * penalty.double()
    try:
        gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    except Exception as exc:
        ending.error_of_total = described(exc)
        return
    ending.finite = {name: _is_finite(gradient) for name, gradient in zip(names, gradients, strict=True)}


def _is_finite(gradient: Any) -> bool:
    return gradient is None or bool(torch.isfinite(gradient).all())


def _left(call: Call, unasked: str = "") -> dict[str, Any]:
    """All that a call may change, but for what is not to be asked: a Brownian motion changes by being asked."""
    left = {f"random state of {name}": state for name, state in random_states().items()}
    return left | {name: fingerprint(value) for name, value in call.watched.items() if name != unasked}


def _read_left(ending: Ending, call: Call, before: dict[str, Any]) -> None:
    # What the second backward pass changes is no concern of anybody's.
    ending.left = ending.left or _left(call)
    ending.left["settings of the process"] = process_settings() == before


def _check_report(ending: Ending, report: Any, bare: Ending) -> None:
    penalty = report.penalty
    if not isinstance(penalty, torch.Tensor) or penalty.shape != () or penalty.is_complex():
        ending.faults.append(f"the penalty is no real scalar: {penalty!r}")
    elif not torch.isfinite(penalty):
        ending.faults.append(f"the penalty is not finite: {penalty!r}")
    if report.nfe is not None and bare.error is None and report.nfe != bare.evaluations:
        ending.faults.append(f"nfe is {report.nfe}, and the bare solve made {bare.evaluations}")
