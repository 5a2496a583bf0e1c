"""What several benchmarks run on: a replaying server, watched processes, data sets of many shards."""
