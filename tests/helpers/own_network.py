"""The text of a file with a network of the user."""

from __future__ import annotations

NETWORK = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, num_classes, width=12):
        super().__init__()
        self.num_features = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.fc = nn.Linear(width, num_classes)

    def forward_features(self, x):
        return self.body(x)

    def forward_head(self, x, pre_logits=False):
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))

    def get_classifier(self):
        return self.fc


def make_net(num_classes):
    return Plain(num_classes)
"""
