"""Derivatives of a function of time and state: in a direction, along a solution, of a product with a cotangent.

If PyTorch has no such derivative, the error says what works instead.
"""

import contextlib
import functools
from collections.abc import Callable, Generator
from typing import Any

import torch

from lrnde_core import CapabilityError

# PyTorch says so only in the message.
_NOT_AGAIN = (
    "not implemented",
    "not been implemented",
    "double backward",
    "donated buffers",
    "once_differentiable",
    "no autograd formula",
    "setup_context",
    "forward AD",
)
_OUTSIDE_OF_TORCH = ("numpy()", "data pointer")

# With tolerances, since fixed-step solves have none; at the step, where stochastic equations have their points.
FOR_A_PENALTY = (
    "a penalty on derivatives (`TaylorDerivative`, the default for ordinary equations, and `JacobianNorm`) needs. Use "
    'a heuristic that only evaluates the field, such as `KineticEnergy(at="step")` or '
    "`ErrorEstimate(rtol=1e-3, atol=1e-3)`"
)
FOR_AN_EXPANSION = "a Taylor expansion needs. Solve by another method, such as torchdiffeq's, take the field uncompiled"


@contextlib.contextmanager
def explain_missing_derivative(need: str = FOR_A_PENALTY) -> Generator[None]:
    """Within the block, PyTorch's error for a missing derivative becomes a `CapabilityError` that says what works.

    - `need`: the feature that needs the derivative, and what to do.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, CapabilityError):
            raise
        if any(part in str(error) for part in _OUTSIDE_OF_TORCH):
            raise CapabilityError(
                "The field takes its time or its state out of torch, so that it has no derivative there, which "
                f"{need}, or write the field in torch alone."
            ) from error
        if any(part in str(error) for part in _NOT_AGAIN):
            raise CapabilityError(
                "The field uses an operation whose derivative PyTorch cannot differentiate again, which "
                f"{need}, or use another implementation of that operation."
            ) from error
        raise


Tensor = torch.Tensor
Function = Callable[[Tensor, Tensor], Tensor]

# Names of the backward operations that have been differentiated again, so that each is tried only once.
_DIFFERENTIATED_AGAIN: set[str] = set()


def directional_derivative(function: Function, t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Tensor:
    r"""$\partial_t f \, dt + \partial_y f \, dy$, differentiable again: by two backward passes if possible.

    In inference mode and within the transforms of `torch.func` it uses forward-mode autodiff.

    Raises `CapabilityError` if PyTorch has no second derivative of an operation in `function`.
    """
    differentiate = _derivative_by_two_backwards if _has_backward() else _derivative_forward
    return differentiate(function, t, y, dt, dy)


def _has_backward() -> bool:
    """Whether a tensor may require a gradient here."""
    return not (torch.is_inference_mode_enabled() or is_within_transform())


def is_within_transform() -> bool:
    """Whether a transform of `torch.func` runs, judged by what transforms refuse; there is no public API."""
    try:
        torch.empty(0, device="cpu").requires_grad_()
    except RuntimeError:
        return True
    return False


def _derivative_by_two_backwards(function: Function, t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Tensor:
    r"""$\partial_t f \, dt + \partial_y f \, dy$ as the derivative, with respect to $v$, of $v^T J (dt, dy)$.

    One evaluation of `function`; differentiable again. Unlike `torch.func.jvp` it works for fields that call autograd
    themselves (a divergence, the gradient of an energy), custom autograd functions and BatchNorm in training mode; for
    small networks it is also faster.

    Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    with torch.enable_grad(), explain_missing_derivative():
        t, y = t if dt == 0 else _as_input(t), _as_input(y)
        inputs, directions = ((y,), (dy,)) if dt == 0 else ((t, y), (dt, dy))
        result = _derivative_of_value(function(t.clone(), y.clone()), inputs, directions)
    return result if torch.is_grad_enabled() else result.detach()


def _derivative_of_value(value: Tensor, inputs: tuple[Tensor, ...], directions: tuple[Any, ...]) -> Tensor:
    """The derivative of a `value` with a graph of `inputs` in these directions, which may depend on the inputs too."""
    if not value.requires_grad:
        return torch.zeros_like(value)
    cotangent = torch.zeros_like(value).requires_grad_()
    # `None` if the value does not depend on the input.
    derivatives: Any = torch.autograd.grad(value, inputs, cotangent, create_graph=True, allow_unused=True)
    parts = [
        (derivative * direction).sum()
        for derivative, direction in zip(derivatives, directions, strict=True)
        if derivative is not None and derivative.requires_grad
    ]
    if not parts:
        return torch.zeros_like(value)
    total = torch.stack(parts).sum()
    _check_graph(total, inputs)
    return torch.autograd.grad(total, cotangent, create_graph=True, materialize_grads=True)[0]


def _derivative_forward(function: Function, t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Tensor:
    """The same by forward-mode autodiff, which works under `torch.func.vmap` and in inference mode."""
    with explain_missing_derivative():
        return _product_forward(function, t, y, dt, dy)[1]


def _product_forward(function: Callable[[Tensor, Tensor], Any], t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Any:
    """The tensors that `function` returns, and their derivatives in the direction `(dt, dy)`."""

    def of_copies(t: Tensor, y: Tensor) -> Any:
        return function(t.clone(), y.clone())

    return torch.func.jvp(of_copies, (t, y), (torch.full_like(t, dt), dy))


def solution_derivatives(field: Function, order: int, t: Tensor, y: Tensor) -> list[Tensor]:
    r"""$\mathrm{d}^k y / \mathrm{d}t^k$ for k = 1 to K, along the solution of dy/dt = `field(t, y)` through `(t, y)`.

    - `order`: K, at least 1. `t`: scalar. `y`: of any shape, which `field` returns too.

    Differentiable again. Takes `count_evaluations(order)` evaluations of `field`: one, since each derivative comes from
    the graph of the previous one; K in inference mode, which has no graph. The cost about doubles with each order.

    Raises `CapabilityError` if PyTorch has no further derivative of an operation in `field`.
    """
    if not _has_backward():
        with explain_missing_derivative(FOR_AN_EXPANSION):
            return _derivatives_forward(field, order, t, y)
    with torch.enable_grad(), explain_missing_derivative(FOR_AN_EXPANSION):
        inputs = (_as_input(t), _as_input(y))
        derivatives = [field(*(each.clone() for each in inputs))]
        for _ in range(order - 1):
            derivatives.append(_derivative_of_value(derivatives[-1], inputs, (1.0, derivatives[0])))
    has_gradient = t.requires_grad or y.requires_grad or _has_other_leaves(derivatives[0], inputs)
    if torch.is_grad_enabled() and has_gradient:
        return derivatives
    return [derivative.detach() for derivative in derivatives]


def count_evaluations(order: int) -> int:
    """The number of evaluations of the field by `solution_derivatives` in the current autograd mode."""
    return 1 if _has_backward() else order


def _derivatives_forward(field: Function, order: int, t: Tensor, y: Tensor) -> list[Tensor]:
    velocity = field(t.clone(), y.clone())
    if order == 1:
        return [velocity]
    lower, raised = _product_forward(functools.partial(_derivatives_forward, field, order - 1), t, y, 1.0, velocity)
    return [*lower, raised[-1]]


def transposed_product(function: Function, t: Tensor, y: Tensor, cotangent: Tensor) -> Tensor:
    r"""$v^T \partial_y f$ for the `cotangent` v, differentiable again: one evaluation of `function`, one backward pass.

    Raises `CapabilityError` if the derivative of an operation in `function` cannot be differentiated again.
    """
    if not _has_backward():
        with explain_missing_derivative():
            pull_back = torch.func.vjp(lambda state: function(t, state.clone()), y)[1]
            return pull_back(cotangent)[0]
    is_differentiated = torch.is_grad_enabled()
    with torch.enable_grad(), explain_missing_derivative():
        y = _as_input(y)
        value = function(t, y.clone())
        if not value.requires_grad:
            return torch.zeros_like(y)
        # `once_differentiable` operations leave a mark only if the cotangent requires a gradient.
        cotangent = cotangent.detach().requires_grad_()
        (product,) = torch.autograd.grad(
            value, y, cotangent, create_graph=is_differentiated, materialize_grads=True, allow_unused=True
        )
        _check_graph(product, (y,))
        if is_differentiated:
            _try_once_more(product, y, cotangent)
    return product


def _try_once_more(product: Tensor, y: Tensor, cotangent: Tensor) -> None:
    """Differentiate `product`, of a function of `y`, again if its graph has an operation that never was so far.

    A resulting error would otherwise come in the user's backward pass, in PyTorch's words. `product` is linear in the
    `cotangent`, so every one of its operations leads there.
    """
    names = {node.name() for node in _graph(product, without=(y,))}
    if names <= _DIFFERENTIATED_AGAIN:
        return
    torch.autograd.grad(product, cotangent, torch.ones_like(product), retain_graph=True, allow_unused=True)
    _DIFFERENTIATED_AGAIN.update(names)


def _as_input(tensor: Tensor) -> Tensor:
    # An alias, so that other uses of the tensor stay out of the partial derivative. Functions get copies of it, into
    # which they may write.
    if tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


def _has_other_leaves(value: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    """Whether the graph of `value` leads to anything but `inputs`."""
    for node in _graph(value):
        variable = getattr(node, "variable", None)
        if variable is not None and all(variable is not each for each in inputs):
            return True
    return False


def _graph(value: Tensor, *, without: tuple[Tensor, ...] = ()) -> Generator[Any]:
    """The nodes of the graph of `value`, each once, except those that only the tensors `without` lead to."""
    seen = {tensor.grad_fn for tensor in without}
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        yield node
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)


def _check_graph(result: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Refuse a graph with a `once_differentiable` operation, whose part of the derivative would silently be left out.

    PyTorch marks it by a node that raises when reached, but no path to the differentiated tensors leads through it.
    """
    if any(node.name() == "torch::autograd::Error" for node in _graph(result, without=inputs)):
        # PyTorch's own words, explained with the rest.
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
