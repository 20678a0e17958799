/* Constants that C shares with Python; tests/unit/test_kernels.py compares them with the modules that define them. */
#ifndef DFM_CONSTANTS_H
#define DFM_CONSTANTS_H

enum {
    PRECISION_BITS = 24, RADIUS = 64, ESCAPE = 129, TABLE_SIZE = 130, LAPLACE_COUNT = 112, UNIT_SCALE_INDEX = 16,
    LAST_DIRECT = 28, MEANS_PER_SYMBOL = 16, SYMBOL_MEANS = 9, GUIDE_BITS = 8, CHANNELS = 3, STATES = 8,
    QUANTIZERS = 2, FINE = 64, OFFSET_SYMBOLS = 3, TABLES_PER_QUANTIZER = 290, DIRECT_TABLES = 580,
    EMPTY_CONTEXT = 255, CONSTANT_UNIT = 64, LIFTING_BITS = 12, ALPHA = -6497, BETA = -217,
    GAMMA = 3616, DELTA = 1817, LOW_GAIN = 5039, MAX_UNITS = 65536, LOW_PAD = 2, CELL_SAMPLES = 12, CELLS_AROUND = 9,
    CORRECTION_FEATURES = 108, DIMENSIONS_PER_MOVED = 16, GRID_LEVELS = 7, CAUSAL_FEATURES = 14, CELL_FEATURES = 9,
    COARSER_FEATURES = 6, GRID_FEATURES = 29, MAX_MEAN = 8192, HALO = 4, TAPS = 4, STAGES = 2, WINDOW = 128,
};
static const int CAUSAL_OFFSETS[14][2] __attribute__((unused)) = {
    {-3, 0}, {-2, -2}, {-2, -1}, {-2, 0}, {-2, 1}, {-2, 2}, {-2, 3}, {-1, -2}, {-1, -1}, {-1, 0}, {-1, 1}, {0, -3},
    {0, -2}, {0, -1},
};

#endif
