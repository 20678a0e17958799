"""The encoder of the coordinate model: it fits the published network to one image."""
