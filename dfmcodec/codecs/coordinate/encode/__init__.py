"""The encoder of the coordinate codec, which fits the published network to one image."""
