"""The encoder of the coordinate codec: it fits the published network to one image."""
