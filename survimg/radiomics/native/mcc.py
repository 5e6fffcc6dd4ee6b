"""The maximal correlation coefficient of a co-occurrence matrix.

MCC is the square root of the second largest eigenvalue of ``Q = D^-1 P D^-1 P``, with P the
symmetric matrix of probabilities and D its marginals (Haralick, 1973). Q is similar to the square
of ``S = D^-1/2 P D^-1/2``, whose largest eigenvalue 1 has the known eigenvector ``sqrt(D)``; what
is left is the eigenvalue of S largest in absolute value on the complement, which a Lanczos
iteration with full orthogonalisation finds in a few dozen products.
"""

from __future__ import annotations

import math

import numpy as np

from survimg.jit import kernel, reducing_kernel

__all__ = ["mean_maximal_correlation", "windowed_maximal_correlation"]

# PyRadiomics adds it to the products of marginals.
_EPSILON = np.spacing(1.0)
# It has no effect on matrices of so few pairs, counted both ways.
_FEW_PAIRS = 2000
# Above this size Lanczos' iteration is faster than Householder's reduction.
_SMALL = 20
_FIRST_CHECK = 8
_CHECK_EVERY = 4


@kernel
def mean_maximal_correlation(pairs: np.ndarray, n_present: int) -> float:
    """Return MCC, averaged over the directions that have pairs.

    Parameters
    ----------
    pairs : ndarray of shape (13, levels + 1, levels + 1), int32
        Pair counts, not symmetric; column 0 is left out.
    n_present : int
        Number of different grey levels in the region.

    Returns
    -------
    float
        1 for a region of a single level; a direction whose pairs are all of one level counts as 0
        otherwise. NaN without any pair. All as in PyRadiomics.
    """
    if n_present < 2:
        return 1.0
    width = pairs.shape[1]
    marginal = np.empty(width, dtype=np.float64)
    mean = 0.0
    used = 0
    for a in range(pairs.shape[0]):
        marginal[:] = 0.0
        for i in range(1, width):
            for j in range(1, width):
                marginal[i] += pairs[a, i, j]
                marginal[j] += pairs[a, i, j]
        total = marginal.sum()
        if total > 0.0:
            used += 1
            mean += _maximal_correlation(pairs[a], marginal, total)
    return mean / used


@kernel
def windowed_maximal_correlation(
    blocks: np.ndarray, offsets: np.ndarray, n_levels: int, n_present: int, out: np.ndarray
) -> None:
    """Compute MCC in the window around each voxel.

    Parameters
    ----------
    blocks, offsets, n_levels
        See `windowed_cooccurrence`.
    n_present : int
        Number of different grey levels in the region.
    out : ndarray of shape (n,)
        Receives MCC; NaN for windows without a pair.
    """
    n_cells = blocks.shape[1]
    number = np.zeros(n_levels + 1, dtype=np.int64)
    levels = np.empty(n_cells, dtype=np.int64)
    inside = np.empty(n_cells, dtype=np.int64)
    if n_present < 2:
        out[:] = 1.0
        return
    for n in range(blocks.shape[0]):
        block = blocks[n]
        # Levels are numbered anew, so that the matrices are as small as the window.
        n_here, n_inside = 0, 0
        for i in range(n_cells):
            level = np.int64(block[i])
            if level > 0:
                inside[n_inside] = i
                n_inside += 1
                if number[level] == 0:
                    levels[n_here] = level
                    n_here += 1
                    number[level] = n_here
        counts = np.empty((n_here + 1, n_here + 1), dtype=np.int32)
        mean, used = 0.0, 0
        for offset in offsets:
            correlation = _of_one_direction(block, inside[:n_inside], offset, number, counts)
            if correlation >= 0.0:
                mean += correlation
                used += 1
        out[n] = mean / used
        for k in range(n_here):
            number[levels[k]] = 0


@kernel
def _of_one_direction(
    block: np.ndarray, inside: np.ndarray, offset: int, number: np.ndarray, counts: np.ndarray
) -> float:
    # -1 without a pair.
    marginal = np.zeros(counts.shape[0], dtype=np.float64)
    neighbours = np.zeros(counts.shape[0], dtype=np.uint64)
    counts[:] = 0
    total = 0
    for i in inside:
        before = block[i - offset]
        if before > 0:
            k, j = number[block[i]], number[before]
            counts[k, j] += 1
            marginal[k] += 1.0
            marginal[j] += 1.0
            neighbours[k] |= np.uint64(1) << np.uint64(j & 63)
            neighbours[j] |= np.uint64(1) << np.uint64(k & 63)
            total += 2
    if total == 0:
        return -1.0
    if marginal.size <= 64 and total <= _FEW_PAIRS and _falls_apart(neighbours):
        return 1.0
    return _maximal_correlation(counts, marginal, np.float64(total))


@kernel
def _falls_apart(neighbours: np.ndarray) -> bool:
    # Whether the eigenvalue 1 or -1 of S occurs beside the known one: if from a level not all
    # others are reached in an even number of steps from neighbour to neighbour, since the levels
    # are not connected, or fall into two halves that only neighbour each other. Levels are bits.
    one = np.uint64(1)
    present, even, levels = np.uint64(0), np.uint64(0), 0
    for k in range(neighbours.size):
        if neighbours[k] != 0:
            bit = one << np.uint64(k)
            even = bit if present == 0 else even
            present |= bit
            levels += 1
    before = np.uint64(0)
    while before != even:
        before = even
        odd = np.uint64(0)
        for k in range(neighbours.size):
            odd |= neighbours[k] * ((even >> np.uint64(k)) & one)
        for k in range(neighbours.size):
            even |= neighbours[k] * ((odd >> np.uint64(k)) & one)
    return levels > 1 and even != present


@kernel
def _maximal_correlation(counts: np.ndarray, marginal: np.ndarray, total: float) -> float:
    levels = np.flatnonzero(marginal)
    n = levels.size
    if n < 2:
        return 0.0
    root = np.empty(n, dtype=np.float64)
    for i in range(n):
        root[i] = math.sqrt(marginal[levels[i]])
    matrix = np.empty((n, n), dtype=np.float64)
    for i in range(n):
        g = levels[i]
        for j in range(i + 1):
            h = levels[j]
            value = (np.float64(counts[g, h]) + np.float64(counts[h, g])) / (root[i] * root[j])
            matrix[i, j] = value
            matrix[j, i] = value
    for i in range(n):
        root[i] /= math.sqrt(total)
    if n <= _SMALL and total <= _FEW_PAIRS:
        return abs(_second_eigenvalue(matrix, root))
    eigenvalue, vector = _second_eigenpair(matrix, root)
    square = eigenvalue * eigenvalue
    weight = 0.0
    for i in range(n):
        weight += (vector[i] / (root[i] * root[i])) ** 2
    if weight * _EPSILON > 1e-9:
        square = _with_epsilon(matrix, root, vector)
    return math.sqrt(max(square, 0.0))


@kernel
def _second_eigenvalue(matrix: np.ndarray, top: np.ndarray) -> float:
    # Of a small matrix, which is overwritten: by Householder's reduction to a tridiagonal one.
    n = top.size
    for i in range(n):
        for j in range(n):
            matrix[i, j] -= top[i] * top[j]
    diagonal = np.empty(n, dtype=np.float64)
    beside = np.zeros(n, dtype=np.float64)
    v = np.zeros(n, dtype=np.float64)
    w = np.zeros(n, dtype=np.float64)
    for k in range(n):
        diagonal[k] = matrix[k, k]
        square = 0.0
        for i in range(k + 1, n):
            v[i] = matrix[k, i]
            square += v[i] * v[i]
        if square > 0.0:
            beside[k] = -math.copysign(math.sqrt(square), v[k + 1])
            scale = square - v[k + 1] * beside[k]
            v[k + 1] -= beside[k]
            _reflect(matrix, k + 1, v, scale, w)
    return _largest_ritz(diagonal, beside, n)


@kernel
def _reflect(
    matrix: np.ndarray, first: int, v: np.ndarray, scale: float, w: np.ndarray
) -> None:
    # H A H with H = 1 - v v' / scale, from row and column `first` on.
    n = matrix.shape[0]
    along = 0.0
    for i in range(first, n):
        w[i] = 0.0
        for j in range(first, n):
            w[i] += matrix[i, j] * v[j]
        w[i] /= scale
        along += w[i] * v[i]
    for i in range(first, n):
        w[i] -= along / (2.0 * scale) * v[i]
    for i in range(first, n):
        for j in range(first, n):
            matrix[i, j] -= v[i] * w[j] + w[i] * v[j]


@kernel
def _second_eigenpair(matrix: np.ndarray, top: np.ndarray) -> tuple[float, np.ndarray]:
    n = top.size
    most = n - 1
    basis = np.zeros((most + 1, n), dtype=np.float64)
    diagonal = np.empty(most, dtype=np.float64)
    beside = np.empty(most + 1, dtype=np.float64)
    product = np.empty(n, dtype=np.float64)
    _start(top, basis[0])
    eigenvalue = 0.0
    size = most
    for k in range(most):
        _multiply(matrix, basis[k], product)
        diagonal[k] = _dot(product, basis[k])
        # Twice is enough to stay orthogonal to machine precision (Parlett).
        for _ in range(2):
            _remove(product, top)
            for earlier in range(k, -1, -1):
                _remove(product, basis[earlier])
        beside[k] = math.sqrt(_dot(product, product))
        small = beside[k] < 1e-11
        if small or k == most - 1 or (k >= _FIRST_CHECK and k % _CHECK_EVERY == 0):
            latest = _largest_ritz(diagonal, beside, k + 1)
            settled = abs(latest - eigenvalue) < 1e-12
            eigenvalue = latest
            if small or settled or k == most - 1:
                size = k + 1
                break
        for i in range(n):
            basis[k + 1, i] = product[i] / beside[k]
    return eigenvalue, _ritz_vector(basis, diagonal, beside, size, eigenvalue)


@kernel
def _start(top: np.ndarray, vector: np.ndarray) -> None:
    # The deviation of the level from its mean is close to the eigenvector sought in smooth images;
    # the alternating part makes sure that no eigenvector is missed, rare levels included.
    n = top.size
    mean = 0.0
    for i in range(n):
        mean += i * top[i] * top[i]
    state = np.uint32(12345)
    scale = 0.0
    for i in range(n):
        vector[i] = (i - mean) * top[i]
        scale += vector[i] * vector[i]
    scale = math.sqrt(scale / n) if scale > 0.0 else 1.0
    for i in range(n):
        state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
        vector[i] += scale * (np.float64(state) / 4294967296.0 - 0.5)
    _remove(vector, top)
    _remove(vector, top)
    length = math.sqrt(_dot(vector, vector))
    for i in range(n):
        vector[i] /= length


@kernel
def _largest_ritz(diagonal: np.ndarray, beside: np.ndarray, size: int) -> float:
    above = _outermost_root(diagonal, beside, size, 1.0)
    # Pivots of the matrix plus `above` are positive if no eigenvalue is as far below 0.
    pivot = diagonal[0] + above
    for k in range(1, size):
        if not pivot > 0.0:
            break
        pivot = diagonal[k] + above - beside[k - 1] * beside[k - 1] / pivot
    if pivot > 0.0:
        return above
    below = _outermost_root(diagonal, beside, size, -1.0)
    return above if above >= -below else below


@kernel
def _outermost_root(diagonal: np.ndarray, beside: np.ndarray, size: int, start: float) -> float:
    # Laguerre's method on the characteristic polynomial: from outside all roots it converges to the
    # outermost one, monotonically and cubically. S has no eigenvalue beyond -1 and 1.
    x = start * (1.0 + 1e-12)
    for _ in range(60):
        p, q = 1.0, 0.0
        dp, dq = 0.0, 0.0
        ddp, ddq = 0.0, 0.0
        for k in range(size):
            b2 = beside[k - 1] * beside[k - 1] if k > 0 else 0.0
            shift = x - diagonal[k]
            p, q = shift * p - b2 * q, p
            dp, dq = shift * dp + q - b2 * dq, dp
            ddp, ddq = shift * ddp + 2.0 * dq - b2 * ddq, ddp
            # Only ratios matter; rescaling keeps long products in range.
            magnitude = abs(p) + abs(q)
            if magnitude < 1e-60 and magnitude > 0.0:
                p, q = p / magnitude, q / magnitude
                dp, dq = dp / magnitude, dq / magnitude
                ddp, ddq = ddp / magnitude, ddq / magnitude
        if p == 0.0:
            break
        g = dp / p
        h = g * g - ddp / p
        inner = (size - 1) * (size * h - g * g)
        step = size / (g + math.copysign(math.sqrt(max(inner, 0.0)), g))
        x -= step
        if not abs(step) > 1e-15:
            break
    return x


@kernel
def _ritz_vector(
    basis: np.ndarray, diagonal: np.ndarray, beside: np.ndarray, size: int, value: float
) -> np.ndarray:
    # Inverse iteration on the tridiagonal matrix. With a shift just beyond the outermost eigenvalue
    # the shifted matrix is definite, and elimination needs no pivoting.
    shift = value + math.copysign(1e-9, value)
    weights = np.ones(size, dtype=np.float64)
    ratio = np.zeros(size, dtype=np.float64)
    for _ in range(2):
        pivot = diagonal[0] - shift
        weights[0] /= pivot
        for k in range(1, size):
            ratio[k - 1] = beside[k - 1] / pivot
            pivot = diagonal[k] - shift - beside[k - 1] * ratio[k - 1]
            weights[k] = (weights[k] - beside[k - 1] * weights[k - 1]) / pivot
        for k in range(size - 2, -1, -1):
            weights[k] -= ratio[k] * weights[k + 1]
        weights /= math.sqrt(_dot(weights, weights))
    vector = np.zeros(basis.shape[1], dtype=np.float64)
    for k in range(size):
        for i in range(vector.size):
            vector[i] += weights[k] * basis[k, i]
    return vector


@kernel
def _with_epsilon(matrix: np.ndarray, root: np.ndarray, vector: np.ndarray) -> float:
    # PyRadiomics divides by (marginal product + epsilon), which is felt where levels are rare. The
    # generalised Rayleigh quotient with the eigenvectors of Q without epsilon gives the eigenvalue
    # with it, up to the square of the perturbation.
    n = root.size
    image = np.empty(n, dtype=np.float64)
    _multiply(matrix, vector, image)
    value = 0.0
    for i in range(n):
        for k in range(n):
            product = (root[i] * root[k]) ** 2
            value += vector[i] * matrix[i, k] * image[k] * product / (product + _EPSILON)
    return value


@reducing_kernel
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def _remove(vector: np.ndarray, direction: np.ndarray) -> None:
    part = _dot(vector, direction)
    for i in range(vector.size):
        vector[i] -= part * direction[i]


@kernel
def _multiply(matrix: np.ndarray, vector: np.ndarray, product: np.ndarray) -> None:
    for i in range(vector.size):
        product[i] = _dot(matrix[i], vector)
