"""Browser viewer: JavaScript, and Python that builds a single file from it."""
