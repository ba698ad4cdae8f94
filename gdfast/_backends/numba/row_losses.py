"""Losses of rows and their derivatives, side by side for up to CHUNK rows."""

from numba.extending import overload

from gdfast import losses
from gdfast._backends.numba.rows import INLINED, weight_of


def find_values(kernels, rows, loss, first, end):
    """The losses of the rows at visits first, ..., end - 1, at most CHUNK, times the weights. c has no meaning then."""
    p, lost, targets, weights = kernels.p, kernels.lost, kernels.targets, kernels.weights
    count = end - first
    for o in range(len(p)):
        for r in range(count):
            targets[o, r] = rows.y[kernels.visited[first + r], o]
        for r in range(count):
            value = losses.value(loss, p[o, r], targets[o, r])
            lost[r] = value if o == 0 else lost[r] + value
    for r in range(count):
        weights[r] = weight_of(rows, kernels.visited[first + r])
    for r in range(count):
        lost[r] *= weights[r]


@overload(find_values, jit_options=INLINED)
def _find_values(kernels, rows, loss, first, end):
    return find_joint_losses if is_joint(loss) else find_values


def find_losses(kernels, rows, loss, first, end):
    """The losses of the rows at visits first, ..., end - 1, and their derivatives, both times the weights."""
    find_values(kernels, rows, loss, first, end)
    p, c, targets, weights = kernels.p, kernels.c, kernels.targets, kernels.weights
    for o in range(len(c)):
        for r in range(end - first):
            c[o, r] = weights[r] * losses.gradient(loss, p[o, r], targets[o, r])


@overload(find_losses, jit_options=INLINED)
def _find_losses(kernels, rows, loss, first, end):
    return find_joint_losses if is_joint(loss) else find_losses


def find_joint_losses(kernels, rows, loss, first, end):
    p, c = kernels.p, kernels.c
    for r in range(end - first):
        i = kernels.visited[first + r]
        s = weight_of(rows, i)
        kernels.lost[r] = s * losses.of_row(loss, p[:, r], rows.y[i], c[:, r])
        for o in range(len(c)):
            c[o, r] *= s


def with_values(kernels, rows, loss, first, end, total):
    """The total with the losses of the rows at visits first, ..., end - 1 added, whose predictions stand in p."""
    find_values(kernels, rows, loss, first, end)
    for r in range(end - first):
        total += kernels.lost[r]
    return total


@overload(with_values, jit_options=INLINED)
def _with_values(kernels, rows, loss, first, end, total):
    if hasattr(loss.instance_class, "anchor"):
        return with_values
    return lambda kernels, rows, loss, first, end, total: total


def losses_are_dear(loss):
    """Whether the losses of groups are found for many rows at once, where they wait for no step."""
    return hasattr(loss, "anchor")


@overload(losses_are_dear, jit_options=INLINED)
def _losses_are_dear(loss):
    dear = hasattr(loss.instance_class, "anchor")
    return lambda loss: dear


def is_joint(loss):
    """Whether the loss of a row is no sum over its outputs."""
    return hasattr(loss.instance_class, "of_row")


def find_derivatives(kernels, rows, loss, r, i):
    """Derivatives of the loss of row i by its predictions, which stand at r, times its weight."""
    for o in range(len(kernels.p)):
        c = losses.gradient(loss, kernels.p[o, r], rows.y[i, o])
        kernels.c[o, r] = weight_of(rows, i) * c


@overload(find_derivatives, jit_options=INLINED)
def _find_derivatives(kernels, rows, loss, r, i):
    return find_joint_derivatives if is_joint(loss) else find_derivatives


def find_joint_derivatives(kernels, rows, loss, r, i):
    losses.of_row(loss, kernels.p[:, r], rows.y[i], kernels.c[:, r])
    for o in range(len(kernels.p)):
        kernels.c[o, r] *= weight_of(rows, i)
