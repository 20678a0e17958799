"""Many images as shards of a plan, on one machine or on an engine that people already have.

A plan is a fixed list of images, cut into shards. Whoever calls `shards.encode_shard` at least once
for each shard has encoded them all: the store that takes the outputs also says what is done, so any
number of processes and hosts may die, and any may do the same shard twice.

All that a plan needs lies in the folder `_dfm` of the store, in the order in which it is written:

    NNNNN.list           the images of a shard
    plan.json            the settings, and what the lists add up to; from here on the plan is fixed
    NNNNN.began          a shard was tried; from the second time on, the image in work
    NNNNN.rows.parquet   a row for each image
    NNNNN.json           the shard is done; without this object it is not, whatever else is there
"""
