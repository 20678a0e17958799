"""Trellis-coded quantisation: two coarse quantisers, and a state machine that selects one of them.

Both quantisers have twice the step of their union. In steps of the union, they are

    quantiser 0:  0, +-2, +-4, ..       a symbol q stands for 2 q
    quantiser 1:  0, +-1, +-3, +-5, ..  a symbol q stands for 2 q - sign(q)

The parity of each symbol determines the next state, and the state selects the quantiser of the next
symbol. So the encoder can choose among paths whose points are as dense as the union, at the rate of
the coarse quantisers (Marcellin and Fischer 1990; "dependent quantisation" in VVC, Schwarz et al.
2019). Here each 2x2 cell of a decomposition level has its own path, which runs through all coding
passes of the level. Paths are independent of each other, so a decoder uses array operations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32

States = npt.NDArray[np.int8]
STATES = 8
QUANTIZERS = 2
NEXT_STATE = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]], dtype=np.int8)


def quantizer_of(states: States) -> States:
    """Returns the quantiser of the next symbol in each state, 0 or 1."""
    return states & np.int8(1)


def next_states(states: States, symbols: Int32) -> States:
    """Returns the states after the given symbols, of the same shape."""
    after: States = NEXT_STATE[states, symbols & 1]
    return after


def multiples_of(symbols: Int32, quantizers: States) -> Int32:
    """Returns the points that symbols represent, in steps of the union, int32 of the same shape."""
    return np.asarray(2 * symbols - np.sign(symbols) * quantizers, dtype=np.int32)
