"""The sections of a `.dfm` file: one module for each section that docs/format.md specifies.

The code section needs a generative model and is in `generative.code_section`.
"""
