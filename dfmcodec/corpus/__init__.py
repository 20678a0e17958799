"""Corpora: many images, split into shards that are encoded independently of each other.

`shards_of` lists the shards of sources, and `encode_shard` encodes one of them. Any engine can call
them. A shard is done when its output exists. Outputs are written atomically, so processes and hosts
may die at any time, and several may encode the same shard.
"""

from dfmcodec.corpus.shards import ShardResult, encode_shard
from dfmcodec.corpus.sources import File, Shard, shards_of

__all__ = ["File", "Shard", "ShardResult", "encode_shard", "shards_of"]
