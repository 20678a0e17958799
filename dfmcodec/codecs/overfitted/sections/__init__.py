"""Readers and writers of the sections of the overfitted codec."""
