"""The sentence of notebook 00 about a result. It is measured on Omniglot (``python -m course_lib data``)."""

from __future__ import annotations

from course_lib.kit import game
from course_lib.kit.claim import claim


@claim("On the game's own drawings the network names more than the nearest picture does")
def the_network_sees_more_than_pixels(draw: int):
    """Twenty drawings, four times five new characters; the numbers are how many are right."""
    hands = game.dealt_hands(20, 4, draw)
    right = {judge: sum(int((hand[judge] == hand["truth"]).sum()) for hand in hands) for judge in game.RIVALS}
    numbers = {"pixels": right["pixels"], "network": right["omniglot/r2d2"]}
    return numbers["network"] > numbers["pixels"], numbers
