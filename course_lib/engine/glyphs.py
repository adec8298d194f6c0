"""How drawn glyphs are drawn: characters nobody ever wrote, in alphabets, with the pen of Omniglot.

A character is two to four strokes between the nine nodes of a square grid; a stroke has one or two legs, and
a leg is straight or bulges to a side, so there are lines, angles, arcs, hooks and loops. An alphabet is a
taste: how many strokes, how round, how often a stroke goes on where the last one ended. Each drawing of a
character is drawn anew by an unsteady hand: nodes and bulges move a little, then the whole is sheared,
stretched, sized and placed anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from course_lib.engine.strokes import CANVAS, PEN_RADIUS, SIDE

ALPHABETS = {"train": 20, "test": 10}
CHARACTERS = 20  # of an alphabet
DRAWINGS = 20  # of a character, as in Omniglot
STROKES, LEGS = 4, 2  # of a character, and of a stroke, at most
POINTS = 48  # along a leg
LONGEST = 95.0  # canvas pixels: the longer side of a drawing at most, so that it stays on the canvas

# How unsteady the hand is, as standard deviations. Set so that the nearest neighbour on pixels is right about
# as often as on Omniglot: 42 % there, 5-way 1-shot.
NODE, BULGE = 0.16, 0.1  # in grid steps
SHEAR, STRETCH, SIZE = 0.1, 0.1, 0.1  # shares
PLACE = 5.0  # canvas pixels


@lru_cache(maxsize=4)
def draw_alphabets(pool: str, seed: int) -> Tensor:
    """The pictures of "train" or "test": uint8 [A, 20, 20, 28, 28] of alphabets, characters and drawings."""
    generator = torch.Generator().manual_seed(2 * seed + (pool == "test"))
    legs = draw(design(ALPHABETS[pool], generator), DRAWINGS, generator)  # [C, N, L, POINTS, 2]
    legs = legs.flatten(0, 1) * (SIDE / CANVAS)  # [C N, L, POINTS, 2], from canvas pixels to pixels
    pictures = torch.cat([ink(some) for some in legs.split(100)])  # [C N, 28, 28]
    return (pictures * 255).round().to(torch.uint8).view(-1, CHARACTERS, DRAWINGS, SIDE, SIDE)


@dataclass(frozen=True)
class Characters:
    """What all drawings of C characters share. Lengths are in steps of the grid from -1 to 1, y down."""

    nodes: Tensor  # [C, 9, 2]: where the character has its grid's nodes
    route: Tensor  # int64 [C, STROKES, LEGS + 1]: the nodes each stroke goes through
    bulge: Tensor  # [C, STROKES, LEGS]: how far a leg's middle is to the side, as a share of its length
    size: Tensor  # [C]: the longer side of the character, canvas pixels


def design(alphabets: int, generator: torch.Generator) -> Characters:
    """The characters of some alphabets, 20 of each: an alphabet's taste first, then each stroke by it."""
    count = alphabets * CHARACTERS

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    def taste(low: float, high: float) -> Tensor:
        per_alphabet = low + (high - low) * torch.rand(alphabets, generator=generator)
        return per_alphabet.repeat_interleave(CHARACTERS)[:, None]  # [C, 1]

    grid = torch.cartesian_prod(torch.arange(-1.0, 2.0), torch.arange(-1.0, 2.0))  # [9, 2]
    nodes = grid + 0.15 * torch.randn(count, 9, 2, generator=generator)  # [C, 9, 2]

    # A stroke goes through three different nodes: it may begin where the last one ended, it may go back to
    # its beginning (a loop, if it bulges), and it may stop after one leg.
    route = uniform(STROKES, 9).topk(LEGS + 1).indices  # [C, STROKES, 3]
    goes_on = uniform(STROKES) < taste(0.2, 0.8)  # [C, STROKES]
    for s in range(1, STROKES):
        last = route[:, s - 1, -1]
        free = (route[:, s, 1:] != last[:, None]).all(dim=1)
        route[:, s, 0] = torch.where(goes_on[:, s] & free, last, route[:, s, 0])
    closes, stops = uniform(STROKES) < taste(0.0, 0.3), uniform(STROKES) < taste(0.3, 0.8)
    route[..., 2] = torch.where(stops, route[..., 1], torch.where(closes, route[..., 0], route[..., 2]))

    # The same side on both legs, as a hand that turns one way.
    side = (uniform(STROKES, 1) < 0.5).float() * 2 - 1
    bent = (uniform(STROKES, LEGS) < torch.maximum(taste(0.1, 0.8)[..., None], closes[..., None])).float()
    bulge = bent * side * (0.3 + 0.6 * uniform(STROKES, LEGS))  # [C, STROKES, LEGS]

    # The strokes that a character lacks stay at its first node, where they leave no ink.
    strokes = (taste(1.8, 3.3) + 1.4 * uniform(1)).floor().clamp(2, STROKES)  # [C, 1]
    lacks = torch.arange(STROKES) >= strokes  # [C, STROKES]
    route = torch.where(lacks[..., None], route[:, :1, :1], route)
    size = taste(58, 74) * torch.exp(0.15 * (2 * uniform(1) - 1))
    return Characters(nodes, route, bulge, size.squeeze(1))


def draw(characters: Characters, drawings: int, generator: torch.Generator) -> Tensor:
    """N drawings of each character by an unsteady hand: the points of all legs on the canvas, in its pixels.

    Returns:
        Points (x, y) [C, drawings, STROKES LEGS, POINTS, 2].
    """
    count = len(characters.size)

    def shake(by: float, *shape: int) -> Tensor:
        return by * torch.randn(count, drawings, *shape, generator=generator)

    nodes = characters.nodes[:, None] + shake(NODE, 9, 2)  # [C, N, 9, 2]
    stops = characters.route.flatten(1)[:, None, :, None].expand(-1, drawings, -1, 2)
    stops = nodes.gather(2, stops).unflatten(2, (STROKES, LEGS + 1))  # [C, N, STROKES, LEGS + 1, 2]
    begin, end = stops[..., :-1, :].flatten(2, 3), stops[..., 1:, :].flatten(2, 3)  # [C, N, L, 2]
    bulge = characters.bulge.flatten(1)[:, None] + shake(BULGE, STROKES * LEGS)  # [C, N, L]

    # A leg is a quadratic Bezier curve, whose control point lies twice the bulge beside the middle.
    chord = end - begin
    beside = torch.stack([-chord[..., 1], chord[..., 0]], dim=-1)
    control = (begin + end) / 2 + 2 * bulge[..., None] * beside  # [C, N, L, 2]
    t = torch.linspace(0, 1, POINTS)[:, None]  # [POINTS, 1]
    begin, control, end = (p[..., None, :] for p in (begin, control, end))  # [C, N, L, 1, 2]
    points = (1 - t) ** 2 * begin + 2 * t * (1 - t) * control + t**2 * end  # [C, N, L, POINTS, 2]

    # The drawing as a whole: sheared and stretched, then sized and placed on the canvas.
    x, y = points.unbind(-1)  # [C, N, L, POINTS]
    x, y = x + shake(SHEAR, 1, 1) * y, y + shake(SHEAR, 1, 1) * x
    stretch = torch.exp(shake(STRETCH, 1, 1))
    points = torch.stack([x * stretch, y / stretch], dim=-1)
    low, high = (m(points, dim=(2, 3), keepdim=True) for m in (torch.amin, torch.amax))  # [C, N, 1, 1, 2]
    size = (characters.size[:, None] * torch.exp(shake(SIZE))).clamp(max=LONGEST) - 2 * PEN_RADIUS  # [C, N]
    scale = size[..., None, None, None] / (high - low).amax(dim=-1, keepdim=True)
    return (points - (low + high) / 2) * scale + CANVAS / 2 + shake(PLACE, 1, 1, 2)


def ink(paths: Tensor) -> Tensor:
    """Pictures of paths (x, y) [N, L, P, 2], in pixels of the picture: [N, 28, 28], where 1 is ink.

    ``strokes.picture`` follows the pen exactly, which costs a distance from every pixel to every point. Here
    each path wears a Gaussian coat, whose integral along the path is a product of two thin matrices, and
    ink = 1 - exp(-coat) saturates where the pen went over twice. Height and width of the coat make the grey
    of a straight line 0.97 in its middle and 0.5 at the pen's edge.
    """
    edge = PEN_RADIUS * SIDE / CANVAS  # pixels
    height = -math.log(1 - 0.97)
    sigma = edge / math.sqrt(2 * math.log(height / math.log(2)))  # 0.37 pixels
    step = (paths[:, :, 1:] - paths[:, :, :-1]).norm(dim=-1)  # [N, L, P - 1]
    points = ((paths[:, :, 1:] + paths[:, :, :-1]) / 2).flatten(1, 2)  # [N, L (P - 1), 2], each step's middle
    weight = step.flatten(1) * (height / (sigma * math.sqrt(2 * math.pi)))
    centre = torch.arange(SIDE) + 0.5
    # Far away the coat is nothing; the bound keeps it out of the range where floats, and machines, crawl.
    exponent = ((points[..., None] - centre).square() / (-2 * sigma**2)).clamp(min=-20)  # [N, P, 2, 28]
    coat_x, coat_y = exponent.exp().unbind(2)  # [N, P, 28]
    return 1 - torch.exp(-(coat_y * weight[..., None]).mT @ coat_x)  # rows are y
