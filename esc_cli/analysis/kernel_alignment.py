"""Centered kernel alignment (CKA): how similarly two layers arrange the same pictures.

The measure does not depend on what the axes of the features mean.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

FEWEST_EXAMPLES = 4
"""The debiased estimator divides by n - 3."""


def gram_matrix(features: Tensor) -> Tensor:
    """Return the inner products of the examples after their mean is subtracted.

    Args:
        features: (n, p), one example per row; float32 or float64.

    Returns:
        (n, n), float64. Rows and columns sum to zero, so the matrix needs no further centering.
    """
    # Subtract one example first: float32 then keeps differences that are small compared with the mean, and
    # equal examples become exactly zero.
    centered = features - features[0]
    centered -= centered.mean(dim=0)
    return (centered @ centered.mT).double()


def cka(first: Tensor, second: Tensor) -> float:
    """Return the linear CKA of two layers: 1 for the same features up to rotation, reflection and scale.

    With n examples and many more features, CKA is near 1 even for unrelated noise, because the examples are
    at right angles to each other in each layer. See ``debiased_cka`` for a measure without this bias.

    Args:
        first: Gram matrix of one layer, (n, n); see ``gram_matrix``.
        second: Gram matrix of the other layer, for the same examples in the same order.

    Returns:
        A number from 0 to 1; 0 if a layer does not distinguish the examples.

    Source: Kornblith et al., "Similarity of neural network representations revisited" (arXiv 1905.00414),
    section 3.
    """
    return cosine(first, second)


def debiased_cka(first: Tensor, second: Tensor) -> float:
    """Return the linear CKA from the unbiased estimator of HSIC: about 0 for unrelated features.

    Args:
        first: Gram matrix of one layer, (n, n), with n at least ``FEWEST_EXAMPLES``; see ``gram_matrix``.
        second: Gram matrix of the other layer, for the same examples in the same order.

    Returns:
        A number from -1 to 1; 0 if a layer does not distinguish the examples.

    Source: Song et al., "Feature selection via dependence maximization" (JMLR 13, 2012), theorem 2, in the
    form of Székely and Rizzo, "Partial distance correlation with methods for dissimilarities" (Annals of
    Statistics 42, 2014), section 3, where the estimator is an inner product.
    """
    return cosine(_centered_off_diagonal(first), _centered_off_diagonal(second))


def cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine of the angle between two tensors of one shape; 0 if one of them is zero."""
    return float(F.cosine_similarity(first.double().flatten(), second.double().flatten(), dim=0))


def correlation(first: Tensor, second: Tensor) -> float:
    """Return Pearson's correlation of two tensors of one shape; 0 if one of them is constant."""
    return cosine(*(each.double() - each.double().mean() for each in (first, second)))


def _centered_off_diagonal(gram: Tensor) -> Tensor:
    """Center the entries off the diagonal, and set the diagonal, which causes the bias, to zero."""
    n = len(gram)
    others = gram - gram.diag().diag()
    sums = others.sum(dim=0)
    centered = others - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return centered.masked_fill(torch.eye(n, dtype=torch.bool), 0)
