"""Trellis-coded quantisation: two coarse quantisers, and a machine of eight states that says which one is next.

Both quantisers have twice the step of their union, in whole steps

    quantiser 0:  0, +-2, +-4, ..       a symbol q stands for 2 q
    quantiser 1:  0, +-1, +-3, +-5, ..  a symbol q stands for 2 q - sign(q)

The parity of each symbol moves the machine to its next state, and the state names the quantiser of the next symbol. So
the encoder may choose among paths whose points lie as dense as the union's, at the rate of the coarse quantisers
(Marcellin and Fischer 1990; as "dependent quantisation" in VVC, Schwarz et al. 2019). Here a path runs through all
passes of a level at one place, and all places have paths of their own, side by side: decoding stays whole arrays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
States = npt.NDArray[np.int8]

STATES = 8
QUANTIZERS = 2
NEXT_STATE = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]], dtype=np.int8)


def quantizer_of(states: States) -> States:
    """The quantiser of the next symbol in each state, 0 or 1."""
    return states & np.int8(1)


def next_states(states: States, symbols: Int32) -> States:
    """States after symbols, of the same shape."""
    after: States = NEXT_STATE[states, symbols & 1]
    return after


def multiples_of(symbols: Int32, quantizers: States) -> Int32:
    """The points of symbols, in steps of the union. int32, of the same shape."""
    return np.asarray(2 * symbols - np.sign(symbols) * quantizers, dtype=np.int32)
