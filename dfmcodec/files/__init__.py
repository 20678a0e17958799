"""Files on disk <-> `Image`: readers, writers, and writes that happen whole or not at all."""
