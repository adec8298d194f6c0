"""Model solutions of notebook 04."""


def revisit(heads, task, learn):
    heads = heads.clone()
    heads[task] = learn(heads[task])
    return heads


def feature_gradient(z, w, y):
    residual = z @ w - y  # [N]
    return 2 / len(z) * residual[:, None] * w  # [N, D]
