"""dfmcodec inside other programs."""
