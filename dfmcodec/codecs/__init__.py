"""The codecs, a folder each; `decode` and `encode` choose among them."""
