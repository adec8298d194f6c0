"""Model solutions of notebook 01, as a student could have written them."""

import torch

scalar = """
```python
theta_after_one = 0 - 0.25 * (0 - 4)     # = 1.0
theta_after_two = 1 - 0.25 * (1 - 4)     # = 1.75
```
"""

zero_predictor = "`(5**3 - 0.1**3) / (3 * 4.9) / 2`, which is 4.2517"


def fine_tune(theta, x, y, steps, alpha):
    for _ in range(steps):
        loss = (theta[1] * torch.sin(x - theta[0]) - y).square().mean()
        (grad,) = torch.autograd.grad(loss, theta)
        theta = theta - alpha * grad
    return theta


def oracle(x, y, new_x):
    features = lambda x: torch.stack([x.sin(), x.cos()], dim=1)  # [N, 2]
    weights = torch.linalg.lstsq(features(x), y[:, None]).solution  # [2, 1]
    return features(new_x) @ weights[:, 0]
