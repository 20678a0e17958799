"""The search for a target, for the encoders of all codecs: settings, job, targets, rate control."""
