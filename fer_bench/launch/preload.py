"""What every worker needs, imported once by the process that workers of the pool are copies of."""

import gc

gc.disable()  # collecting over and over takes a sixth of the time of these imports

import torch._dynamo  # noqa: E402, F401  an optimizer of torch imports it when it is made

import fer_bench.engine.trainer  # noqa: E402, F401

gc.freeze()  # nothing of this is ever freed, so that no worker's collector need look at it, nor copy its pages
gc.enable()
