"""flashneuron: language models bigger than a phone's DRAM, run from its flash."""

__version__ = "0.3.0"
