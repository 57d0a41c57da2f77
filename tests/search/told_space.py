"""A small space whose studies are told their results: nothing of it is trained."""

TOLD = """\
name: told
teacher: {network: {unet: {channels: [8, 16], norm_groups: 4}}}
recipe:
  - prune:
      criterion: {choice: [{diff_pruning: {threshold: {float: [0.0, 0.1]}}}, magnitude]}
      ratio: {mid: {float: [0.0, 0.8]}, up_0: {float: [0.0, 0.6]}}
  - quantize: {bits: {choice: [32, 8, 4]}}
objectives: [{fid: {extractor: labels}}, size_mb]
constraints: ["prune.ratio.mid >= prune.ratio.up_0"]
"""
