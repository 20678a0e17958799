"""The search for a target, shared by the encoders of all codecs: settings, job, targets, rate
control.
"""
