"""Sources of small plugins."""

from __future__ import annotations


def plugin_source(body: str, before: str = "") -> str:
    """A plugin file: the usual imports, ``before``, and a class ``Toy`` with an Info and ``body``."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return f"""from __future__ import annotations
import os, random
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn.functional as F
from fer_bench.method import Batch, Info, Method, Needs, Run, Stage, hparam
{before}

class Toy(Method):
    info = Info(title="Toy", authors="A", venue="none", year=2020, idea="none", kind="baseline")
{lines}
"""


LOSS = """
def loss(self, batch, run):
    return F.cross_entropy(self.net(batch.view()), batch.label)
"""
