"""How much of their colour the most colourful pixels of each hue lose.

Metrics of visual quality hardly count small saturated things, but eyes do at once. So for each hue,
the pixels are taken that have most of it in the original: 2 % of the image. Their loss is the mean
by which the decoded image has less of it, in code values. For red it is nearly a loss of Cr.
"""

from __future__ import annotations

import numpy as np

_HUES = {"red": (1, 0, 0), "orange": (1, 0.5, 0), "blue": (0, 0, 1), "magenta": (1, 0, 1), "green": (0, 1, 0)}
_FRACTION = 0.02  # of the pixels that count for a hue
_CHROMA = np.array([(-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)])  # Cb and Cr of RGB (JFIF)


def lost_colour(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Returns the loss of each hue.

    Args:
        original: The original image, uint8 [H, W, 3].
        decoded: The decoded image, uint8 [H, W, 3].

    Returns:
        The mean of the lost chroma in the direction of the hue, in code values, over the pixels
        that have most of it; below 0 if they gain.
    """
    losses = {}
    before, after = (pixels.reshape(-1, 3) @ _CHROMA.T for pixels in (original, decoded))
    for name, colour in _HUES.items():
        direction = _CHROMA @ np.array(colour)
        direction /= np.hypot(*direction)
        amounts = before @ direction
        count = max(1, round(_FRACTION * len(amounts)))
        most = np.argpartition(amounts, -count)[-count:]
        losses[f"lost_{name}"] = round(float(np.mean(amounts[most] - after[most] @ direction)), 3)
    return losses
