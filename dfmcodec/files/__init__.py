"""Files: arrays and images on disk, safe names, and atomic writes."""
