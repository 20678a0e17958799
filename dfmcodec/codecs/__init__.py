"""The codecs, one folder each; `decode` and `encode` choose among them."""
