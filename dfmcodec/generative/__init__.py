"""The published generative model: a decoder network maps a code z to all coefficients of a Fourier machine.

Codes drawn from the density of the training pictures' codes paint new pictures; a picture's quantised code is the
smallest file there can be for its kind. Nothing here is imported before `dfm generate` or a file of this model asks.
"""
