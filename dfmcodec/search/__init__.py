"""What the encoders of all codecs share: settings, job, targets, rate control."""
