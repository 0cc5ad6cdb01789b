"""Derivatives of a function of time and state: in a direction, along a solution, of a product with a cotangent.

If PyTorch has no such derivative, the error says what works instead.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence

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
Node = torch.autograd.graph.Node
PullBack = Callable[..., tuple[Tensor, ...]]

# Names of the backward operations that have been differentiated again, so that each is tried only once.
_DIFFERENTIATED_AGAIN: set[str] = set()

# The ends of the names of PyTorch's own backward operations, and of the leaves of a graph. A user's end in "Backward".
_OWN_OPERATIONS = ("Backward0", "Backward1", "AccumulateGrad")


def directional_derivative(function: Function, t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Tensor:
    r"""$\partial_t f \, dt + \partial_y f \, dy$, differentiable again: one evaluation, then two backward passes.

    It is the derivative of $v^T J (dt, dy)$ with respect to $v$. Unlike `torch.func.jvp` it works for fields that call
    autograd themselves (a divergence, the gradient of an energy), custom autograd functions and BatchNorm in training
    mode; for small networks it is also faster. In inference mode and within the transforms of `torch.func`, these
    transforms take the place of the backward passes.

    Raises `CapabilityError` if PyTorch has no second derivative of an operation in `function`.

    Source: J. Townsend, "A new trick for calculating Jacobian vector products", 2017.
    """
    dy = _in_shape_of(y, dy)
    with explain_missing_derivative():
        if not _has_backward():
            value, pull_back, *_ = torch.func.vjp(lambda t, y: function(t.clone(), y.clone()), t, y)
            return _push_forward(value, pull_back, (torch.full_like(t, dt), dy))
        with torch.enable_grad():
            # A time without a direction stays out of the graph: the field may take it out of torch.
            t, y = t if dt == 0 else _as_input(t), _as_input(y)
            inputs, directions = ((y,), (dy,)) if dt == 0 else ((t, y), (torch.full_like(t, dt), dy))
            derivative = _derivative_of_value(function(t.clone(), y.clone()), inputs, directions)
    return derivative if torch.is_grad_enabled() else derivative.detach()


def _has_backward() -> bool:
    """Whether a tensor may require a gradient here. A compiler traces transforms, and no graph of autograd's."""
    return not (torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or is_within_transform())


def is_within_transform() -> bool:
    """Whether a transform of `torch.func` runs, judged by what transforms refuse; there is no public API."""
    try:
        torch.empty(0, device="cpu").requires_grad_()
    except RuntimeError:
        return True
    return False


def _derivative_of_value(value: Tensor, inputs: tuple[Tensor, ...], directions: tuple[Tensor, ...]) -> Tensor:
    """The derivative of a `value` with a graph of `inputs` in these directions, which may depend on the inputs too."""
    if not value.requires_grad:
        return torch.zeros_like(value)
    cotangent = torch.zeros_like(value).requires_grad_()
    pulled = zip(_backward(value, inputs, cotangent), directions, strict=True)
    pairs = [(product, way) for product, way in pulled if product is not None and product.requires_grad]
    if not pairs:
        return torch.zeros_like(value)
    products, along = zip(*pairs, strict=True)
    _check_graph(value, products, inputs)
    return torch.autograd.grad(products, cotangent, along, create_graph=True, materialize_grads=True)[0]


def _in_shape_of(y: Tensor, direction: Tensor) -> Tensor:
    """The `direction` in the shape of the state `y`, to which the value of a field may only broadcast."""
    return direction if direction.shape == y.shape else direction.expand_as(y)


def _backward(value: Tensor, inputs: tuple[Tensor, ...], cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """The derivative of `value` by each input, times `cotangent`; `None` if `value` does not depend on it."""
    return torch.autograd.grad(value, inputs, cotangent, create_graph=True, allow_unused=True)


def _push_forward(value: Tensor, pull_back: PullBack, direction: tuple[Tensor, Tensor]) -> Tensor:
    """The derivative of a `value` in a direction `(dt, dy)`, from its `pull_back` by `torch.func.vjp`."""
    _, push_forward, *_ = torch.func.vjp(pull_back, torch.zeros_like(value))
    return push_forward(direction)[0]


def solution_derivatives(
    field: Function, order: int, t: Tensor, y: Tensor, *, need: str = FOR_AN_EXPANSION
) -> list[Tensor]:
    r"""$\mathrm{d}^k y / \mathrm{d}t^k$ for k = 1 to K, along the solution of dy/dt = `field(t, y)` through `(t, y)`.

    - `order`: K, at least 1. `t`: scalar, or one for each member of `y`. `y`: of any shape, which `field` returns too.
      `field` gets copies of both.
    - `need`: as in `explain_missing_derivative`.

    Differentiable again. Takes one evaluation of `field`: each derivative comes from the graph of the previous one, or,
    where there is no graph, from its transformation. The cost about doubles with each order.

    Raises `CapabilityError` if PyTorch has no further derivative of an operation in `field`.
    """
    with explain_missing_derivative(need):
        if not _has_backward():
            return _derivatives_by_transforms(field, order, t, y)
        with torch.enable_grad():
            inputs = (_as_input(t), _as_input(y))
            derivatives = [field(*(each.clone() for each in inputs))]
            for _ in range(order - 1):
                directions = (torch.ones_like(t), _in_shape_of(y, derivatives[0]))
                derivatives.append(_derivative_of_value(derivatives[-1], inputs, directions))
    has_gradient = t.requires_grad or y.requires_grad or _has_other_leaves(derivatives[0], inputs)
    if torch.is_grad_enabled() and has_gradient:
        return derivatives
    return [derivative.detach() for derivative in derivatives]


def _derivatives_by_transforms(field: Function, order: int, t: Tensor, y: Tensor) -> list[Tensor]:
    if order == 1:
        return [field(t.clone(), y.clone())]

    def last_and_lower(t: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        *lower, last = _derivatives_by_transforms(field, order - 1, t, y)
        return last, lower

    last, pull_back, *lower = torch.func.vjp(last_and_lower, t, y, has_aux=True)
    derivatives = [*lower[0], last]
    return [*derivatives, _push_forward(last, pull_back, (torch.ones_like(t), _in_shape_of(y, derivatives[0])))]


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
        _check_graph(value, [product], (y,))
        if is_differentiated:
            _try_once_more(product, y, cotangent)
    return product


def _try_once_more(product: Tensor, y: Tensor, cotangent: Tensor) -> None:
    """Differentiate `product`, of a function of `y`, again if its graph has an operation that never was so far.

    A resulting error would otherwise come in the user's backward pass, in PyTorch's words. `product` is linear in the
    `cotangent`, so every one of its operations leads there.
    """
    names = {node.name() for node in _graph([product], without=(y,))}
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
    for node in _graph([value]):
        variable = getattr(node, "variable", None)
        if variable is not None and all(variable is not each for each in inputs):
            return True
    return False


def _graph(values: Sequence[Tensor], *, without: tuple[Tensor, ...] = ()) -> list[Node]:
    """The nodes of the graph of `values`, each once, except those that only the tensors `without` lead to."""
    seen = {tensor.grad_fn for tensor in without}
    nodes: list[Node] = []
    waiting = [value.grad_fn for value in values]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes.append(node)
            waiting += [following for following, _ in node.next_functions]
    return nodes


def _check_graph(value: Tensor, products: Sequence[Tensor], inputs: tuple[Tensor, ...]) -> None:
    """Refuse derivatives through a `once_differentiable` operation, whose own part would silently be left out.

    PyTorch marks it by a node that raises when reached, but no path to the differentiated tensors leads through it.

    - `products`: made of a `value` by a backward pass to `inputs`.
    """
    # PyTorch's own operations never leave the mark. Their graph is half as large as that of the products.
    names = {node.name() for node in _graph([value], without=inputs)}
    if all(name.endswith(_OWN_OPERATIONS) for name in names):
        return
    for node in _graph(products, without=inputs):
        if node.name() == "torch::autograd::Error":
            # PyTorch's own words, explained with the rest.
            raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
