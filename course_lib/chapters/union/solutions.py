"""Model solutions of notebook 06, as a student would write them."""

from __future__ import annotations


def union_loss(z, y, heads, task_id):
    own = heads[task_id]  # [T, D], the head of each task in the batch
    outputs = (z * own[:, None]).sum(-1)  # [T, N]
    return (outputs - y).square().mean()


def weight(alpha, h):
    return (1 - alpha * h) ** 2


RATE = "`my_rate = -0.25`"


def share(theta, w, support_hessian, query_hessian, alpha):
    left = (theta - w) - alpha * support_hessian @ (theta - w)  # what the inner step leaves of the error
    gradient = query_hessian @ left  # of the query loss, at theta'
    return gradient - alpha * support_hessian @ gradient  # pulled back through the step: H is symmetric
