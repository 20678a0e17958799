"""Corpora: many images, split into shards by a plan and processed on one machine or by an existing
cluster.

A plan is a fixed list of images, split into shards. A corpus is encoded when `shards.encode_shard`
was called at least once for each shard. The output store also records which shards are finished, so
processes and hosts may die at any time, and several may process the same shard.

All data of a plan is in the folder `_dfm` of the store. The objects in the order in which they are
written:

    NNNNN.list           the images of a shard
    plan.json            the settings, and what the lists add up to; from here on the plan is fixed
    NNNNN.began          a shard was tried; from the second time on, the image in work
    NNNNN.rows.parquet   a row for each image
    NNNNN.json           the shard is done; without this object it is not, whatever else is there
"""
