"""Centered kernel alignment: how alike two layers arrange the same pictures, whatever their axes mean."""

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_EXAMPLES = 4
"""The debiased estimator divides by n - 3."""


def gram_matrix(features: Tensor) -> Tensor:
    """Give the inner products of examples, once their mean is taken off them.

    Args:
        features: (n, p), one example a row; float32 or float64.

    Returns:
        (n, n), float64. Rows and columns sum to zero: centered features need no centering of the matrix.
    """
    # Less one of them first: float32 keeps differences that are small next to the mean, and zeros are zeros.
    centered = features - features[0]
    centered -= centered.mean(dim=0)
    return (centered @ centered.mT).double()


def cka(first: Tensor, second: Tensor) -> float:
    """Give the linear CKA of two layers: 1 for the same features up to rotation, reflection and scale.

    With n examples and many more features this is near 1 even for unrelated noise (all of its examples are
    at right angles, in each layer): compare ``debiased_cka``.

    Args:
        first: As of ``gram_matrix``, (n, n).
        second: Likewise, of the same examples in the same order.

    Returns:
        0 to 1; 0 where a layer does not tell the examples apart.

    Source: Kornblith et al., "Similarity of neural network representations revisited" (arXiv 1905.00414),
    section 3.
    """
    return cosine(first, second)


def debiased_cka(first: Tensor, second: Tensor) -> float:
    """Give the linear CKA from the unbiased estimator of HSIC, about 0 for unrelated features.

    Args:
        first: (n, n), n at least ``FEWEST_EXAMPLES``, as of ``gram_matrix``.
        second: Likewise, of the same examples in the same order.

    Returns:
        -1 to 1; 0 where a layer does not tell the examples apart.

    Source: Song et al., "Feature selection via dependence maximization" (JMLR 13, 2012), theorem 2; in the
    form of Székely and Rizzo, "Partial distance correlation with methods for dissimilarities" (Annals of
    Statistics 42, 2014), section 3, where the estimator is an inner product.
    """
    return cosine(_centered_off_diagonal(first), _centered_off_diagonal(second))


def cosine(first: Tensor, second: Tensor) -> float:
    """Give the cosine of the angle between two tensors of one shape; 0 where one is zero."""
    return float(F.cosine_similarity(first.double().flatten(), second.double().flatten(), dim=0))


def correlation(first: Tensor, second: Tensor) -> float:
    """Give Pearson's correlation of two tensors of one shape; 0 where one is constant."""
    return cosine(*(each.double() - each.double().mean() for each in (first, second)))


def _centered_off_diagonal(gram: Tensor) -> Tensor:
    """Center what lies off the diagonal, by itself; the diagonal, which makes the bias, is left out."""
    n = len(gram)
    others = gram - gram.diag().diag()
    sums = others.sum(dim=0)
    centered = others - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return centered.masked_fill(torch.eye(n, dtype=torch.bool), 0)
