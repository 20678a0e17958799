/* Made by packaging/kernels/make_kernel_interface.py: constants, the arguments of each kernel, and lists of kernels. */
#ifndef DFM_INTERFACE_H
#define DFM_INTERFACE_H

#include <stddef.h>
#include <stdint.h>

enum {
    PRECISION_BITS = 24, RADIUS = 64, ESCAPE = 129, TABLE_SIZE = 130, LAPLACE_COUNT = 112, UNIT_SCALE_INDEX = 16,
    LAST_DIRECT = 28, MEANS_PER_SYMBOL = 16, SYMBOL_MEANS = 9, GUIDE_BITS = 8, CHANNELS = 3, STATES = 8,
    QUANTIZERS = 2, FINE = 64, OFFSET_SYMBOLS = 3, TABLES_PER_QUANTIZER = 290, DIRECT_TABLES = 580,
    EMPTY_CONTEXT = 255, SLOPE_REACH = 2, CONSTANT_UNIT = 64, LIFTING_BITS = 12, ALPHA = -6497, BETA = -217,
    GAMMA = 3616, DELTA = 1817, LOW_GAIN = 5039, MAX_UNITS = 65536, LOW_PAD = 2, CELL_SAMPLES = 12, CELLS_AROUND = 9,
    CORRECTION_FEATURES = 108, DIMENSIONS_PER_MOVED = 16, GRID_LEVELS = 7, CAUSAL_FEATURES = 14, CELL_FEATURES = 9,
    COARSER_FEATURES = 6, GRID_FEATURES = 29, MAX_MEAN = 8192, HALO = 4, TAPS = 4, STAGES = 2, WINDOW = 128,
};

static const int CAUSAL_OFFSETS[14][2] __attribute__((unused)) = {
    {-3, 0}, {-2, -2}, {-2, -1}, {-2, 0}, {-2, 1}, {-2, 2}, {-2, 3}, {-1, -2}, {-1, -1}, {-1, 0}, {-1, 1}, {0, -3},
    {0, -2}, {0, -1},
};

/* Rows of a coding pass, and the context network of its symbols. */
typedef struct {
    const int8_t *w1; ptrdiff_t w1_count; const int32_t *c1; ptrdiff_t c1_count; const int8_t *w2; ptrdiff_t w2_count;
    const int32_t *c2; ptrdiff_t c2_count; const int8_t *w3; ptrdiff_t w3_count;
    const int32_t *c3; ptrdiff_t c3_count; const int32_t *available; ptrdiff_t available_count; int signed_count;
    const int8_t *symbols; ptrdiff_t symbols_count; const int8_t *coarser; ptrdiff_t coarser_count;
    const int8_t *differences; ptrdiff_t differences_count; const int64_t *views; ptrdiff_t views_count;
    ptrdiff_t rows; ptrdiff_t columns; const int8_t *quantizers; ptrdiff_t quantizers_count;
    const int16_t *class_of_mean; ptrdiff_t class_of_mean_count;
} ContextPass;

/* The context network of a level of latent grids; see `LevelNetwork`. */
typedef struct {
    const float *first; ptrdiff_t first_count; const float *constants; ptrdiff_t constants_count;
    const float *second; ptrdiff_t second_count; const float *second_constants; ptrdiff_t second_constants_count;
    const float *last; ptrdiff_t last_count;
} GridNetworkWeights;

/* The place of a window of a fit. */
typedef struct {
    ptrdiff_t top; ptrdiff_t left; ptrdiff_t height; ptrdiff_t width;
} WindowPlace;

/* A window of a fit of the overfitted codec. */
typedef struct {
    const float *weights; ptrdiff_t weights_count; int width; int units;
    const float *companding; ptrdiff_t companding_count; double activation_max; WindowPlace place; double lmbda;
    double step_size; double peak; const float *colours; ptrdiff_t colours_count;
    const float *pixel_weights; ptrdiff_t pixel_weights_count; const float *grids[7]; ptrdiff_t grids_count[7];
} FitWindow;

/* Rows of two images, and the constants of SSIMULACRA2. */
typedef struct {
    const float *original; ptrdiff_t original_count; const float *decoded; ptrdiff_t decoded_count; ptrdiff_t height;
    ptrdiff_t width; ptrdiff_t first_row; ptrdiff_t last_row; const float *absorbance; ptrdiff_t absorbance_count;
    double bias; double bias_root; const float *taps; ptrdiff_t taps_count; double constant;
} ComparedRows;

/* A coding pass of a trellis search. */
typedef struct {
    ptrdiff_t rows; ptrdiff_t columns; const float *band; ptrdiff_t band_count; ptrdiff_t band_start;
    ptrdiff_t band_stride; double per_step; const uint16_t *weights; ptrdiff_t weights_count; ptrdiff_t weights_start;
    ptrdiff_t weights_stride; double weight_factor; const int16_t *tables; ptrdiff_t tables_count;
    const uint16_t *costs; ptrdiff_t costs_count; int32_t *symbols; ptrdiff_t symbols_count;
} PathPass;

/* Sets the state of a range decoder to the start of a stream. */
typedef struct {
    uint64_t *state; ptrdiff_t state_count; const uint32_t *words; ptrdiff_t words_count;
} StartDecoding;

/* Decodes the high part of each symbol, its table entry minus RADIUS. */
typedef struct {
    uint64_t *state; ptrdiff_t state_count; const uint32_t *words; ptrdiff_t words_count;
    const uint32_t *cumulative; ptrdiff_t cumulative_count; const uint8_t *guide; ptrdiff_t guide_count;
    const int32_t *shifts; ptrdiff_t shifts_count; const int16_t *numbers; ptrdiff_t numbers_count; int is_sorted;
    int32_t *order; ptrdiff_t order_count; int32_t *highs; ptrdiff_t highs_count;
} DecodeHighs;

/* Decodes uniformly distributed numbers of a given number of bits. */
typedef struct {
    uint64_t *state; ptrdiff_t state_count; const uint32_t *words; ptrdiff_t words_count; int bits;
    int32_t *values; ptrdiff_t values_count;
} DecodeBits;

/* Chooses the tables of the symbols in rows of a pass; see `ContextModel.choose_tables`. */
typedef struct {
    ContextPass coding_pass; int16_t *table; ptrdiff_t table_count; int32_t *sign; ptrdiff_t sign_count;
    uint8_t *hidden; ptrdiff_t hidden_count;
} ChooseTables;

/* Chooses the tables of a wavefront; see `GridContext.choose_tables`. */
typedef struct {
    GridNetworkWeights network; const float *plane; ptrdiff_t plane_count;
    const int64_t *causal; ptrdiff_t causal_count; ptrdiff_t plane_start; ptrdiff_t plane_stride;
    const int8_t *coarser; ptrdiff_t coarser_count; ptrdiff_t coarser_start; ptrdiff_t coarser_stride;
    ptrdiff_t count; int16_t *table; ptrdiff_t table_count; int32_t *sign; ptrdiff_t sign_count;
    int32_t *middle; ptrdiff_t middle_count;
} ChooseWavefrontTables;

/* Stores the symbols of a wavefront; see `GridContext.accept`. */
typedef struct {
    const int32_t *symbols; ptrdiff_t symbols_count; const float *companded; ptrdiff_t companded_count;
    int32_t *grid; ptrdiff_t grid_count; ptrdiff_t grid_start; ptrdiff_t grid_stride;
    float *plane; ptrdiff_t plane_count; ptrdiff_t plane_start; ptrdiff_t plane_stride;
} AcceptWavefront;

/* Evaluates the correction network on a block; see `codecs.wavelet.correction`. */
typedef struct {
    const int8_t *weights; ptrdiff_t weights_count; const int32_t *first_constants; ptrdiff_t first_constants_count;
    const int32_t *factors; ptrdiff_t factors_count; int depth; const int32_t *samples; ptrdiff_t samples_count;
    ptrdiff_t channels; ptrdiff_t height; ptrdiff_t width; int step_size; ptrdiff_t block_height;
    ptrdiff_t block_width; float *residual; ptrdiff_t residual_count;
} CorrectionResidual;

/* Evaluates the image filter on a block; see `codecs.wavelet.filter`. */
typedef struct {
    const float *weights; ptrdiff_t weights_count; const int32_t *taps; ptrdiff_t taps_count; int radius;
    const int32_t *samples; ptrdiff_t samples_count; ptrdiff_t channels; ptrdiff_t height; ptrdiff_t width;
    float *residual; ptrdiff_t residual_count;
} FilterResidual;

/* Converts planes into pixels; see `codecs.wavelet.colour.planes_to_pixels`. */
typedef struct {
    const float *planes; ptrdiff_t planes_count; ptrdiff_t channels; ptrdiff_t height; ptrdiff_t width;
    const float *basis; ptrdiff_t basis_count; double scale; double middle; double peak;
    void *pixels; ptrdiff_t pixels_count;
} PlanesToPixels;

/* Stores the symbols of a pass; see `CausalContext.accept`. */
typedef struct {
    const int32_t *symbols; ptrdiff_t symbols_count; const int16_t *table; ptrdiff_t table_count;
    const int32_t *sign; ptrdiff_t sign_count; const int32_t *offsets; ptrdiff_t offsets_count;
    const int8_t *next_state; ptrdiff_t next_state_count; ptrdiff_t rows; ptrdiff_t columns;
    int8_t *states; ptrdiff_t states_count; ptrdiff_t state_stride;
    const int8_t *companded; ptrdiff_t companded_count; int8_t *plane; ptrdiff_t plane_count; ptrdiff_t plane_start;
    ptrdiff_t plane_stride; int32_t *fine; ptrdiff_t fine_count; ptrdiff_t fine_start; ptrdiff_t fine_stride;
} AcceptSymbols;

/* Inverts a decomposition level of one channel; see `codecs.wavelet.quantizer.synthesise_fine`. */
typedef struct {
    const int32_t *low; ptrdiff_t low_count; const int32_t *band_0; ptrdiff_t band_0_count;
    const int32_t *band_1; ptrdiff_t band_1_count; const int32_t *band_2; ptrdiff_t band_2_count; int step_0;
    int step_1; int step_2; ptrdiff_t height; ptrdiff_t width; ptrdiff_t stride;
    int32_t *samples; ptrdiff_t samples_count;
} SynthesiseChannel;

/* Compands the differences in rows of a low-pass band. */
typedef struct {
    const int32_t *low; ptrdiff_t low_count; ptrdiff_t height; ptrdiff_t width; int level_step;
    const int32_t *offsets; ptrdiff_t offsets_count; const int32_t *companded; ptrdiff_t companded_count;
    ptrdiff_t first_row; ptrdiff_t last_row; int8_t *differences; ptrdiff_t differences_count;
} LowDifferences;

/* Encodes table entries. */
typedef struct {
    uint64_t *state; ptrdiff_t state_count; const uint32_t *cumulative; ptrdiff_t cumulative_count;
    const int16_t *numbers; ptrdiff_t numbers_count; int is_sorted; int32_t *order; ptrdiff_t order_count;
    const int32_t *entries; ptrdiff_t entries_count; uint32_t *out; ptrdiff_t out_count;
} EncodeEntries;

/* Encodes the low bits of numbers as uniformly distributed. */
typedef struct {
    uint64_t *state; ptrdiff_t state_count; int bits; const int32_t *values; ptrdiff_t values_count;
    uint32_t *out; ptrdiff_t out_count;
} EncodeBits;

/* Writes the words that end a stream, without a change of the state. */
typedef struct {
    const uint64_t *state; ptrdiff_t state_count; uint32_t *out; ptrdiff_t out_count;
} EndEncoding;

/* Chooses tables, and adds the gradient of bits; see `ContextModel.add_gradient`. */
typedef struct {
    ContextPass coding_pass; int16_t *table; ptrdiff_t table_count; int32_t *sign; ptrdiff_t sign_count;
    uint8_t *hidden; ptrdiff_t hidden_count; const int32_t *symbols; ptrdiff_t symbols_count;
    const float *bits; ptrdiff_t bits_count; int scales; int means; float *grad_symbols; ptrdiff_t grad_symbols_count;
    float *grad_coarser; ptrdiff_t grad_coarser_count;
} AddContextGradient;

/* Computes the gradient of the bits of symbols with respect to an adaptation of the last layer. */
typedef struct {
    const uint8_t *hidden; ptrdiff_t hidden_count; const float *sums; ptrdiff_t sums_count;
    const int64_t *band; ptrdiff_t band_count; const int32_t *symbols; ptrdiff_t symbols_count;
    const int8_t *quantizers; ptrdiff_t quantizers_count; const int64_t *chosen; ptrdiff_t chosen_count;
    const int32_t *maps; ptrdiff_t maps_count; const int32_t *constants; ptrdiff_t constants_count;
    const float *bits; ptrdiff_t bits_count; int scales; int means; float *grad_maps; ptrdiff_t grad_maps_count;
    float *grad_constants; ptrdiff_t grad_constants_count;
} AdaptationGradient;

/* Computes the size of the workspace of a window. */
typedef struct {
    char nothing;
} WindowWorkspace;

/* Computes the gradient of a window's term of the loss of a fit; see `WindowLoss.gradients`. */
typedef struct {
    FitWindow window; uint8_t *workspace; ptrdiff_t workspace_count; double temperature; double noise; uint32_t seed;
    float *grad_weights; ptrdiff_t grad_weights_count; float *grad_latents; ptrdiff_t grad_latents_count;
} WindowGradient;

/* Computes the costs of integer symbols of a window; see `WindowLoss.costs`. */
typedef struct {
    FitWindow window; uint8_t *workspace; ptrdiff_t workspace_count; float *errors; ptrdiff_t errors_count;
    float *bits; ptrdiff_t bits_count;
} WindowCosts;

/* Computes the colours of a window from integer symbols; see `WindowLoss.colours`. */
typedef struct {
    FitWindow window; uint8_t *workspace; ptrdiff_t workspace_count; float *decoded; ptrdiff_t decoded_count;
} WindowColours;

/* Adds the gradient of a window to grids of the image; see `Latents.add`. */
typedef struct {
    WindowPlace place; const float *grad_latents; ptrdiff_t grad_latents_count;
    float *waiting[7]; ptrdiff_t waiting_count[7];
} AddWindowGradient;

/* Updates the latents of a window by a step of Adam; see `Latents.move`. */
typedef struct {
    WindowPlace place; float *values[7]; ptrdiff_t values_count[7]; float *means[7]; ptrdiff_t means_count[7];
    float *squares[7]; ptrdiff_t squares_count[7]; float *waiting[7]; ptrdiff_t waiting_count[7];
    const float *rates; ptrdiff_t rates_count; double mean_fraction; double square_fraction; double per_square_bias;
    double epsilon;
} MoveLatents;

/* Looks up the samples of a channel in a table. */
typedef struct {
    const float *table; ptrdiff_t table_count; const void *pixels; ptrdiff_t pixels_count; ptrdiff_t channel;
    ptrdiff_t count; ptrdiff_t channels; float *values; ptrdiff_t values_count;
} LookUpSamples;

/* Sums the errors of SSIMULACRA2 at one scale over the pixels of rows; see `metrics.ssimulacra2`. */
typedef struct {
    ComparedRows strip; double *sums; ptrdiff_t sums_count;
} Ssimulacra2Sums;

/* Computes the gradient of a weighted sum of the errors of SSIMULACRA2 at one scale, in rows of an image. */
typedef struct {
    ComparedRows strip; const float *error_weights; ptrdiff_t error_weights_count;
    float *gradient; ptrdiff_t gradient_count;
} Ssimulacra2Gradient;

/* Splits a channel at one decomposition level; see `codecs.wavelet.transform.analyse`. */
typedef struct {
    const float *plane; ptrdiff_t plane_count; ptrdiff_t height; ptrdiff_t width; float *low; ptrdiff_t low_count;
    float *band_0; ptrdiff_t band_0_count; float *band_1; ptrdiff_t band_1_count;
    float *band_2; ptrdiff_t band_2_count;
} AnalyseChannel;

/* Converts pixels into planes; see `codecs.wavelet.colour.pixels_to_planes`. */
typedef struct {
    const void *pixels; ptrdiff_t pixels_count; ptrdiff_t item_bytes; ptrdiff_t count;
    const float *basis; ptrdiff_t basis_count; double scale; double middle; float *planes; ptrdiff_t planes_count;
} PixelsToPlanes;

/* Counts the bits of symbols under their tables. */
typedef struct {
    const int32_t *symbols; ptrdiff_t symbols_count; const int16_t *table; ptrdiff_t table_count;
    const int32_t *sign; ptrdiff_t sign_count; const float *bits; ptrdiff_t bits_count;
    double *total; ptrdiff_t total_count;
} CountBits;

/* Chooses the symbols of rows of cells; see `trellis_search.PathChooser`. */
typedef struct {
    PathPass passes[36]; ptrdiff_t passes_count; int has_costs; double bit_cost;
    const int16_t *rescaled; ptrdiff_t rescaled_count; const float *bits; ptrdiff_t bits_count;
    const float *offsets; ptrdiff_t offsets_count; const float *zero_limits; ptrdiff_t zero_limits_count;
    const float *companded; ptrdiff_t companded_count; const int8_t *transitions; ptrdiff_t transitions_count;
    ptrdiff_t columns; ptrdiff_t first_row; ptrdiff_t last_row;
} ChoosePaths;

/* X(name of the kernel, name of its struct) */
#define DECODER_KERNELS_OF_ONE_BUILD(X)                                                                                \
    X(start_decoding, StartDecoding) X(decode_highs, DecodeHighs) X(decode_bits, DecodeBits)
#define ENCODER_KERNELS_OF_ONE_BUILD(X)                                                                                \
    X(encode_entries, EncodeEntries) X(encode_bits, EncodeBits) X(end_encoding, EndEncoding) X(count_bits, CountBits)
#define DECODER_KERNELS_OF_TARGETS(X)                                                                                  \
    X(choose_tables, ChooseTables) X(choose_wavefront_tables, ChooseWavefrontTables)                                   \
    X(accept_wavefront, AcceptWavefront) X(correction_residual, CorrectionResidual) X(filter_residual, FilterResidual) \
    X(planes_to_pixels, PlanesToPixels) X(accept_symbols, AcceptSymbols) X(synthesise_channel, SynthesiseChannel)      \
    X(low_differences, LowDifferences)
#define ENCODER_KERNELS_OF_TARGETS(X)                                                                                  \
    X(add_context_gradient, AddContextGradient) X(adaptation_gradient, AdaptationGradient)                             \
    X(window_workspace, WindowWorkspace) X(window_gradient, WindowGradient) X(window_costs, WindowCosts)               \
    X(window_colours, WindowColours) X(add_window_gradient, AddWindowGradient) X(move_latents, MoveLatents)            \
    X(look_up_samples, LookUpSamples) X(ssimulacra2_sums, Ssimulacra2Sums)                                             \
    X(ssimulacra2_gradient, Ssimulacra2Gradient) X(analyse_channel, AnalyseChannel)                                    \
    X(pixels_to_planes, PixelsToPlanes) X(choose_paths, ChoosePaths)

#endif
