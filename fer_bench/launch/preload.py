"""Imports what every worker needs, once, in the process that the workers of the pool are copies of."""

import gc

gc.disable()  # a sixth of the time of these imports otherwise

import torch._dynamo  # noqa: E402, F401  torch imports it with the first optimizer

import fer_bench.engine.trainer  # noqa: E402, F401

gc.freeze()  # none of it is ever freed: no worker's collector visits it or copies its pages
gc.enable()
