"""The sections of a file of this codec <-> bytes."""
